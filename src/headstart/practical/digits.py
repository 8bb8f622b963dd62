"""
## The data

scikit-learn's hand-written digits: 1,797 real grey images of 8 × 8 pixels, made 32 × 32 with three equal colours. 797
of them are test images. They train quickly and say nothing about photographs.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from headstart.practical.data import Dataset

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


# %%
def load_dataset() -> Dataset:
    """Load the digits, with each pixel enlarged to a square of 4 × 4."""
    grey, labels = load_digits(return_X_y=True)
    large = np.kron(grey.reshape(-1, 8, 8) * (255 / 16), np.ones((4, 4)))
    images = np.repeat(np.rint(large).astype(np.uint8)[..., None], 3, axis=3)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=797, stratify=labels, random_state=0)
    return Dataset(x_train, y_train, x_test, y_test, CLASS_NAMES, "scikit-learn digits, not CIFAR-10")
