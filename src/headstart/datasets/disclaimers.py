"""The sentences that must come before results if the images are not CIFAR-10 as Keras loads it."""

from __future__ import annotations


def disclaimers(name: str) -> list[str]:
    """Return the limits of results with other images than CIFAR-10's.

    Args:
        name: The dataset's name.

    Returns:
        The sentences. There are none for CIFAR-10 itself, and none for images that are not a copy of it.

    >>> disclaimers("CIFAR-10")
    []
    """
    copies = "with CIFAR-10 as Keras loads it, the figures may be a little different"
    limits = {"scikit": "the figures say nothing about CIFAR-10", "CIFAR-10 images": copies}
    return [f"These are {name}: {limit}." for start, limit in limits.items() if name.startswith(start)]
