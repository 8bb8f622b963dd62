"""The cost of a study's network on any machine, in images."""

from __future__ import annotations

import numpy as np

from headstart.practical.data import Dataset
from headstart.study.plan import NetworkSpec
from headstart.study.subsets import count_images
from headstart.training.cost import layer_work

STARTUP_COST = 2000  # approximate cost of starting a training, in images


def training_cost(network: NetworkSpec, dataset: Dataset) -> float:
    """Return the work of a training, in images that the whole network is trained on.

    A forward pass is counted as a third of an image. Frozen layers are computed once.

    Args:
        network: The network to train.
        dataset: All images.
    """
    train_images = count_images(network.train_size, network.classes, dataset)
    test = int(np.isin(dataset.y_test, network.classes).sum())
    if network.part == "a":
        train_images, test = len(dataset.y_train) - train_images, len(dataset.y_test) - test
    frozen = network.strategy.frozen if network.strategy else 0
    work = layer_work(network.recipe)
    trained = float(work[frozen:].sum() / work.sum())
    curve = (test + min(test, train_images)) * (network.recipe.epochs if network.strategy else 1)
    measured = curve + test + train_images  # after the last epoch: the test images again, and all training images
    features = 2 * train_images + test if frozen else 0
    return trained * (network.recipe.epochs * train_images + measured / 3) + features / 3
