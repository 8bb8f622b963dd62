"""The practical. Its modules are the notebook's sections, and what follows is its first code cell."""

import os

# TensorFlow reads this when it is imported: its faster kernels, which it leaves off on AMD's processors, and its log.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
stderr = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # while it is imported it remarks on itself, which no setting turns off
try:
    import tensorflow
finally:
    os.dup2(stderr, 2)
