"""The datasets that `data` can name: CIFAR-10's files and its download, image folders, and a user's own pictures."""
