"""
## The recipe

Everything that determines how a network is trained is in one place. The terms:

- *Epoch*: one pass over all training images. *Batch*: the images of one step. *Step*: one change of the weights.
- *Loss*: cross-entropy, the mean of -log(probability of the true class). Training makes it small.
- *AdamW*: a gradient descent that scales each weight's step by the usual size of its gradient.
- *Learning rate*: how far a step goes. It rises during the first epochs (the *warm-up*), because the first gradients
  are unreliable, and then falls in a straight line nearly to 0, so that the network settles.

Four ingredients control *overfitting*, which means that a network fits its training images better than new ones:

- *Dropout*: in training, a random part of the inputs of a layer is set to 0.
- *Weight decay*: each step makes all weights a little smaller.
- *Label smoothing*: the network must not be fully certain. With 0.05, the target is 95.6% for one of eight classes.
- *Augmentation*: images are shown with changes that keep their class. In every second epoch an image is mirrored. For
  network A it is also shifted by up to `shift` pixels, at random.

The three strategies on part B share `RECIPE_B`, so that none gets a longer training, a better learning rate or more
augmentation than another. It has no shifts: each image is shown in only two ways, as it is and mirrored, so that the
output of frozen layers can be computed once for both. The recipes were chosen on validation images, that is, on
training images that were held back; the search is described in headstart's documentation (`docs/recipe.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Determine how a network is built and trained."""

    widths: tuple[int, int, int, int] = (48, 96, 192, 256)  # channels of conv1 to conv4
    units: int = 512  # of fc1
    dropout: tuple[float, float] = (0.1, 0.3)  # before fc1 and before fc2
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 2e-3  # the highest
    warmup: float = 0.2  # part of the epochs in which the learning rate rises
    weight_decay: float = 0.1
    label_smoothing: float = 0.05
    shift: int = 4  # pixels, at most
    precision: str = "float32"  # or "bfloat16"
    seed: int = 0


RECIPE_A = Recipe()
RECIPE_B = replace(RECIPE_A, dropout=(0.1, 0.2), warmup=0.1, weight_decay=0.01, shift=0)
