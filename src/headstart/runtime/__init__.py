"""The machine: how TensorFlow starts, precision, memory, provenance and progress."""
