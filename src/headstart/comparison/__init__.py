"""Compare the predictions of any classifiers, paired by item, and say what may be concluded."""
