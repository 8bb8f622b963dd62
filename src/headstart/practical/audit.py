"""
## The audit

Each rule of the practical and of the method is checked against the networks and numbers of this very run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import pandas as pd
from keras import layers

from headstart.practical.data import Dataset
from headstart.practical.network import WEIGHT_LAYERS, colour_statistics, input_statistics, weight_hashes
from headstart.practical.training import Trained, plan_course, predict

Finding = tuple[str, bool, str]  # the rule, whether it holds, the evidence


def audit(part_a: Dataset, part_b: Dataset, source: Trained, strategies: Sequence[Trained]) -> pd.DataFrame:
    """A row a rule: rule, holds, evidence."""
    findings: list[Finding] = [
        *audit_data(part_a, part_b),
        *(finding for trained in (source, *strategies) for finding in audit_network(trained)),
        *audit_training(part_a, part_b, source, strategies),
        *(finding for trained in strategies for finding in audit_transfer(source, trained, part_b)),
    ]
    return pd.DataFrame(findings, columns=["rule", "holds", "evidence"])


def audit_data(part_a: Dataset, part_b: Dataset) -> Iterator[Finding]:
    """The split by class, the labels, and the wall between training and test images."""
    shared = set(part_a.class_names) & set(part_b.class_names)
    names = f"A: {', '.join(part_a.class_names)}; B: {', '.join(part_b.class_names)}"
    yield "Part B has two classes, part A all others", len(part_b.class_names) == 2 and not shared, names
    for part, name in ((part_a, "A"), (part_b, "B")):
        labels = np.unique(np.concatenate([part.y_train, part.y_test]))
        complete = np.array_equal(labels, np.arange(len(part.class_names)))
        yield f"{name}: labels are renumbered from 0 without a gap", complete, f"labels {labels.tolist()}"
        trained_on = {image.tobytes() for image in part.x_train}
        both = sum(image.tobytes() in trained_on for image in part.x_test)
        evidence = f"{both} of {len(part.x_test)} test images equal one of {len(part.x_train)} training images"
        yield f"{name}: no test image is trained on", both == 0, evidence


def audit_network(trained: Trained) -> Iterator[Finding]:
    """The specification's network, read off the built model."""
    built = trained.network.layers
    kinds = [type(layer) for layer in built]
    convs, pools = kinds.count(layers.Conv2D), kinds.count(layers.MaxPooling2D)
    dense = [layer.name for layer in built if isinstance(layer, layers.Dense)]
    shape_holds = (convs, pools) == (4, 2) and dense == ["fc1", "fc2"] and built[-1].name == "fc2"
    evidence = f"{convs} convolutions, {pools} max-poolings, last {' and '.join(dense)}"
    yield f"{trained.name}: four convolutions, two max-poolings, two fully connected layers last", shape_holds, evidence
    activations = [layer.activation.__name__ for layer in built if hasattr(layer, "activation")]
    relu_holds = activations == ["relu"] * 5 + ["softmax"]
    yield f"{trained.name}: ReLU everywhere, softmax last", relu_holds, ", ".join(activations)
    rates = {layer.name: layer.rate for layer in built if isinstance(layer, layers.Dropout)}
    yield f"{trained.name}: dropout regularises", any(rates.values()), f"{rates}"
    unlisted = [layer.name for layer in built if layer.get_weights() and layer.name not in WEIGHT_LAYERS]
    yield f"{trained.name}: no other layer has weights", not unlisted, f"others with weights: {unlisted or 'none'}"


def audit_training(part_a: Dataset, part_b: Dataset, source: Trained, strategies: Sequence[Trained]) -> Iterator[Finding]:
    """Epochs, optimizers, recipes, normalisation and the figures reported."""
    for trained, part in ((source, part_a), *((trained, part_b) for trained in strategies)):
        name, asked = trained.name, trained.recipe.epochs
        epochs = trained.history["epoch"].tolist()
        yield f"{name}: {asked} epochs", epochs == list(range(1, asked + 1)), f"{len(epochs)} rows in the history"
        steps = plan_course(len(part.x_train), trained.recipe)[0].shape[1]
        fresh = trained.optimizer_steps == asked * steps
        evidence = f"its optimizer counted {trained.optimizer_steps} steps, {asked} epochs have {asked * steps}"
        yield f"{name}: a new optimizer", fresh, evidence
        last = trained.history["test_accuracy"].iloc[-1]
        evidence = f"reported {trained.test_accuracy:.4f}, last epoch {last:.4f}, best {trained.history['test_accuracy'].max():.4f}"
        yield f"{name}: the last epoch is reported, not the best", trained.test_accuracy == last, evidence
        expected = colour_statistics(part_a.x_train if trained.copied else part.x_train)
        same = bool(np.allclose(input_statistics(trained.network), expected))
        origin = "part A's" if trained.copied or part is part_a else "part B's"
        yield f"{name}: normalised with training images alone", same, f"mean and variance are {origin} training images'"
    one = len({trained.recipe for trained in strategies}) == 1
    yield "All strategies on B share one recipe", one, f"{len({trained.recipe for trained in strategies})} recipe(s)"
    shapes = {architecture(trained.network) for trained in (source, *strategies)}
    yield "All networks have one architecture but for the last layer's outputs", len(shapes) == 1, f"{len(shapes)} seen"
    untouched = weight_hashes(source.network) == source.hashes_after
    yield "No strategy changed network A", untouched, f"conv1 is still {source.hashes_after['conv1'][:12]}"


def architecture(network: keras.Sequential) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The kinds and output shapes of all layers before the last."""
    return tuple((type(layer).__name__, tuple(layer.output.shape[1:])) for layer in network.layers[:-1])


def audit_transfer(source: Trained, trained: Trained, part_b: Dataset) -> Iterator[Finding]:
    """What was copied, what stayed frozen, what was trained."""
    name, before, after = trained.name, trained.hashes_before, trained.hashes_after
    copied = [layer for layer in WEIGHT_LAYERS if before[layer] == source.hashes_after[layer]]
    evidence = f"equal to A's at the start: {', '.join(copied) or 'none'}"
    yield f"{name}: starts from {trained.copied} layers of A", copied == list(WEIGHT_LAYERS[: trained.copied]), evidence
    kept = [layer for layer in WEIGHT_LAYERS if before[layer] == after[layer]]
    evidence = f"bit for bit the same before and after: {', '.join(kept) or 'none'}"
    yield f"{name}: exactly {trained.frozen} layers frozen", kept == list(WEIGHT_LAYERS[: trained.frozen]), evidence
    if trained.frozen:
        difference = float(np.abs(predict(trained.network, part_b.x_test) - trained.probabilities).max())
        tolerance = 1e-4 if trained.recipe.precision == "float32" else 2e-2
        evidence = f"whole network against trained head: probabilities differ by at most {difference:.1e}"
        yield f"{name}: the frozen layers worked in inference mode", difference < tolerance, evidence
