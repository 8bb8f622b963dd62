"""Studies: many networks, for pairs of classes x seeds x strategies x sizes of the training set."""
