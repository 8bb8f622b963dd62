"""Check the rules of the practical and of the method on the networks and numbers of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from headstart.datasets.duplicates import count_shared
from headstart.practical.data import Dataset
from headstart.practical.network import WEIGHT_LAYERS, colour_statistics
from headstart.practical.training import measure, predict
from headstart.training.trainer import SEED_OFFSET, Trained, build_network, input_statistics, weight_hashes

Finding = tuple[str, bool, str]  # the rule, whether it holds, the evidence


def audit(part_a: Dataset, part_b: Dataset, source: Trained, strategies: Sequence[Trained]) -> pd.DataFrame:
    """Check every rule of the practical and of the method on a run.

    Args:
        part_a: The dataset of network A.
        part_b: The dataset of the strategies.
        source: Network A.
        strategies: The networks on part B.

    Returns:
        A row for each rule: rule, holds and evidence.
    """
    findings = [*audit_data(part_a, part_b), *audit_network(source, part_a, source.recipe.seed)]
    for trained in strategies:
        normalised_with = part_a if trained.copied else part_b
        findings += audit_network(trained, normalised_with, trained.recipe.seed + SEED_OFFSET)
        findings += audit_transfer(trained, source, part_b)
    recipes = {trained.recipe for trained in strategies}
    findings += [("all strategies share one recipe", len(recipes) == 1, f"{len(recipes)} recipe(s)")]
    shapes = {architecture(trained) for trained in (source, *strategies)}
    rule = "all networks have the same architecture up to the last layer"
    findings += [(rule, len(shapes) == 1, f"{len(shapes)} architecture(s)")]
    untouched = weight_hashes(source.network) == source.hashes_after
    findings += [("no strategy changed network A", untouched, "hashes of its six weight layers")]
    return pd.DataFrame(findings, columns=["rule", "holds", "evidence"])


def architecture(trained: Trained) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the kinds and output shapes of all layers before the last, without augmentation."""
    layers = [layer for layer in trained.network.layers[:-1] if type(layer).__name__ != "RandomTranslation"]
    return tuple((type(layer).__name__, tuple(layer.output.shape[1:])) for layer in layers)


def audit_data(part_a: Dataset, part_b: Dataset) -> Iterator[Finding]:
    """Check the split by class, the labels, and that no test image is a training image."""
    apart = len(part_b.class_names) == 2 and not set(part_a.class_names) & set(part_b.class_names)
    yield "part B has two classes, part A all others", apart, f"A {part_a.class_names}, B {part_b.class_names}"
    equal, near = count_shared(part_a, part_b)
    evidence = f"{equal} images of B are equal to an image of A, and {near} others are near duplicates of one"
    yield "no image of part B is equal to one of part A", equal == 0, evidence
    training_images = {image.tobytes() for part in (part_a, part_b) for image in part.x_train}
    for name, part in (("A", part_a), ("B", part_b)):
        labels = np.unique(np.concatenate([part.y_train, part.y_test])).tolist()
        yield f"part {name}: labels count from 0", labels == list(range(len(part.class_names))), f"labels {labels}"
        both = sum(image.tobytes() in training_images for image in part.x_test)
        evidence = f"{both} of {len(part.x_test):,} test images are equal to a training image of either part"
        yield f"part {name}: no test image is a training image", both == 0, evidence


def audit_network(trained: Trained, normalised_with: Dataset, seed: int) -> Iterator[Finding]:
    """Check the network against the specification, and how it was trained and reported.

    Args:
        trained: The network.
        normalised_with: The dataset whose training images the normalisation must come from.
        seed: The seed of the random weights.
    """
    name, built, epochs = trained.title, trained.network.layers, trained.recipe.epochs
    kinds = [type(layer).__name__ for layer in built if type(layer).__name__ != "RandomTranslation"]
    counts = {kind: kinds.count(kind) for kind in ("Conv2D", "MaxPooling2D", "Dense")}
    weighted = [layer.name for layer in built if layer.get_weights() and layer.name in WEIGHT_LAYERS]
    holds = list(counts.values()) == [4, 2, 2] and weighted == list(WEIGHT_LAYERS) and kinds[-1] == "Dense"
    holds = holds and set(kinds) <= {*counts, "Normalization", "Dropout", "Flatten"}
    yield f"{name}: 4 convolutional, 2 max-pooling, last 2 fully connected layers", holds, f"{counts}, {weighted}"
    activations = [layer.activation.__name__ for layer in built if hasattr(layer, "activation")]
    yield f"{name}: ReLU, softmax last", activations == ["relu"] * 5 + ["softmax"], ", ".join(activations)
    rates = [layer.rate for layer in built if hasattr(layer, "rate")]
    yield f"{name}: dropout", any(rates), f"rates {rates}"
    fresh = fresh_hashes(trained, normalised_with, seed)
    random = [layer for layer in WEIGHT_LAYERS if trained.hashes_before[layer] == fresh[layer]]
    holds = random == list(WEIGHT_LAYERS[trained.copied :])
    yield (
        f"{name}: {6 - trained.copied} layers start from the seed's random weights",
        holds,
        ", ".join(random) or "none",
    )
    counted = trained.history["epoch"].tolist()
    yield f"{name}: {epochs} epochs", counted == list(range(1, epochs + 1)), f"{len(counted)} epochs in the history"
    curve = trained.history["test_accuracy"]
    evidence = f"reported {trained.test_accuracy:.4f}, last {curve.iloc[-1]:.4f}, best {curve.max():.4f}"
    yield f"{name}: the last epoch is reported, not the best", trained.test_accuracy == curve.iloc[-1], evidence
    same = np.allclose(input_statistics(trained.network), colour_statistics(normalised_with.x_train))
    evidence = f"with the training images of {', '.join(normalised_with.class_names)}"
    yield f"{name}: normalised with training images only", bool(same), evidence


def fresh_hashes(trained: Trained, normalised_with: Dataset, seed: int) -> dict[str, str]:
    """Return the hashes of an untrained network with this seed."""
    statistics = colour_statistics(normalised_with.x_train)
    return weight_hashes(build_network(len(trained.class_names), trained.recipe, statistics, seed))


def audit_transfer(trained: Trained, source: Trained, part_b: Dataset) -> Iterator[Finding]:
    """Check which layers were copied, which stayed frozen and which were trained.

    Args:
        trained: A network on part B.
        source: Network A.
        part_b: The dataset of the network.
    """
    name, before, after = trained.title, trained.hashes_before, trained.hashes_after
    copied = [layer for layer in WEIGHT_LAYERS if before[layer] == source.hashes_after[layer]]
    holds = copied == list(WEIGHT_LAYERS[: trained.copied])
    yield f"{name}: {trained.copied} layers start from A", holds, f"equal to A's: {', '.join(copied) or 'none'}"
    kept = [layer for layer in WEIGHT_LAYERS if before[layer] == after[layer]]
    holds = kept == list(WEIGHT_LAYERS[: trained.frozen])
    evidence = f"equal before and after, bit for bit: {', '.join(kept) or 'none'}"
    yield f"{name}: {trained.frozen} layers frozen, all others trained", holds, evidence
    if not trained.frozen:
        return
    difference = float(np.abs(predict(trained.network, part_b.x_test) - trained.probabilities).max())
    loss, _ = measure(trained.network, part_b.x_train, part_b.y_train)
    difference = max(difference, abs(loss - trained.train_loss))
    holds = difference < (1e-4 if trained.recipe.precision == "float32" else 2e-2)
    evidence = f"the whole network's and the trained part's probabilities and loss differ by {difference:.0e}"
    yield f"{name}: frozen layers run in inference mode", holds, evidence
