"""Search a recipe on validation images."""
