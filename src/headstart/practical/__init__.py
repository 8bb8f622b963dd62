"""The practical: its modules are the sections of the notebook, and what follows is the notebook's first code cell."""

import os

os.environ |= {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}  # TensorFlow: fast kernels, errors only
