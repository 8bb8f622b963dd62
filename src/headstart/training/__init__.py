"""The practical's functions with checked arguments, a record of what was done, and resuming."""
