"""
## The recipe

Everything that decides how a network is built and trained stands in one place. The values are set by hand,
from common practice, and not searched for on validation images. Those for part A come from an earlier trial whose test
accuracy was known, so network A's may flatter a little; the strategies on B were not compared in choosing `RECIPE_B`.

- *Minimising the loss*: Adam with a learning rate that rises for a fifth of the training, so that the first, wild
  gradients do no harm, and then falls to 0, so that the network settles.
- *Holding down overfitting*: dropout; images that are mirrored and moved a little, which leaves their class as it is;
  and label smoothing, which asks for less than full certainty: 95.6% for one of eight classes, 97.5% for one of two.

Part A is trained with `RECIPE_A`. The three strategies on part B share `RECIPE_B`, so that none gets a longer
training, a better learning rate or more augmentation than another; it moves no image, so that what frozen layers make
of the two views that remain can be computed once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained."""

    widths: tuple[int, int, int, int] = (32, 32, 64, 64)  # channels of conv1 to conv4
    strides: tuple[int, int, int, int] = (1, 1, 1, 1)  # of conv1 to conv4: 2 halves the picture
    pools: tuple[int, int] = (2, 4)  # behind which of the convolutional layers; each halves the picture, too
    units: int = 512  # of fc1
    initialisation: str = "glorot_uniform"  # of the weights; Keras' name
    dropout: tuple[float, float, float] = (0.1, 0.25, 0.5)  # behind the first pooling, in front of fc1 and of fc2
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 2e-3  # the highest; it rises to it in a straight line, then falls to 0
    warmup: float = 0.2  # the part of the training in which it rises
    decay: str = "cosine"  # how it falls: along half a "cosine", or "linear"
    label_smoothing: float = 0.05
    weight_decay: float = 0.0  # by which part, times the learning rate, a step shrinks every weight
    mirror: bool = True  # show every image mirrored in every other epoch
    shift: int = 2  # and moved by up to so many pixels
    precision: str = "float32"  # or "bfloat16": faster where the processor has it
    seed: int = 0


RECIPE_A = Recipe()
RECIPE_B = replace(RECIPE_A, learning_rate=1e-3, shift=0)
