"""
## The data

CIFAR-10 ([Krizhevsky, 2009](https://www.cs.toronto.edu/~kriz/cifar.html)) has 60,000 colour images of 32 × 32 pixels:
50,000 for training and 10,000 for the test, of ten classes with equally many images each. Keras gives the labels as a
table with one column; they are flattened, because comparing a column with a row would compare every pair.
"""

from __future__ import annotations

from keras.datasets import cifar10

from headstart.practical.data import CIFAR10_CLASSES, Dataset


# %%
def load_dataset() -> Dataset:
    """Load CIFAR-10 with Keras."""
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    y_train, y_test = y_train.ravel().astype("int64"), y_test.ravel().astype("int64")
    return Dataset(x_train, y_train, x_test, y_test, CIFAR10_CLASSES, "CIFAR-10")
