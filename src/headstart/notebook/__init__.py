"""The hand-in: build the notebook from `practical/`, and execute it."""
