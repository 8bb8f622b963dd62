"""
## Checks

The rules of the practical, checked on the networks and numbers of this very run.
"""

from __future__ import annotations

import numpy as np

from headstart.practical.data import Dataset
from headstart.practical.network import WEIGHT_LAYERS


def equal_layers(first: list[np.ndarray], second: list[np.ndarray]) -> list[str]:
    """Return the layers whose kernel and bias are the same in both lists of weights, bit for bit."""
    equal = [np.array_equal(one, other) for one, other in zip(first, second, strict=True)]
    return [name for number, name in enumerate(WEIGHT_LAYERS) if all(equal[2 * number : 2 * number + 2])]


def check(parts: list[Dataset], networks: list, fresh: list, epochs: int) -> str:
    """Count the rules that hold, and name the others; `fresh` are untrained networks with the seed's random weights."""
    kinds = [" ".join(type(layer).__name__ for layer in trained.network.layers) for trained in networks]
    wanted = "Conv2D MaxPooling2D Conv2D MaxPooling2D Conv2D Conv2D Flatten Dropout Dense Dropout Dense"
    activations = [layer.activation.__name__ for layer in fresh[0].layers if hasattr(layer, "activation")]
    train_a, test_a, train_b, test_b = ({hash(i.tobytes()) for i in x} for p in parts for x in (p.x_train, p.x_test))
    rules = {
        "part A and part B have no class in common": not {*parts[0].class_names} & {*parts[1].class_names},
        "part A and part B have no image in common": not (train_a | test_a) & (train_b | test_b),
        "no test image is a training image": not (train_a | train_b) & (test_a | test_b),
        "4 convolutional, 2 pooling and 2 fully connected layers": all(names.endswith(wanted) for names in kinds),
        "ReLU, and softmax at the end": activations == ["relu"] * 5 + ["softmax"],
    }
    for trained, new, copied, frozen in zip(networks, fresh, (0, 0, 5, 5), (0, 0, 5, 4), strict=True):
        start = [*networks[0].network.get_weights()[: 2 * copied], *new.get_weights()[2 * copied :]]
        fixed = equal_layers(trained.start, trained.network.get_weights())
        rules[f"{trained.name}: {copied} layers copied, the others new"] = len(equal_layers(trained.start, start)) == 6
        rules[f"{trained.name}: {frozen} layers fixed, the others trained"] = fixed == [*WEIGHT_LAYERS[:frozen]]
        rules[f"{trained.name}: {epochs} epochs"] = [*trained.history["epoch"]] == [*range(1, epochs + 1)]
    broken = "".join(f"\n- broken: {rule}" for rule, holds in rules.items() if not holds)
    return f"{sum(rules.values())} of {len(rules)} rules hold.{broken}"
