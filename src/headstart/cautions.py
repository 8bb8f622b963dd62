"""What has to be said before the results where the images are not CIFAR-10 as Keras loads it."""

from __future__ import annotations


def cautions(data: str) -> list[str]:
    """The sentences for a dataset of this name; none for CIFAR-10 itself and for images that are no copy of it."""
    copies = "with CIFAR-10 as Keras loads it, the figures may be a little different"
    words = {"scikit": "the figures say nothing about CIFAR-10", "CIFAR-10 images": copies}
    return [f"These are {data}: {limit}." for kind, limit in words.items() if data.startswith(kind)]
