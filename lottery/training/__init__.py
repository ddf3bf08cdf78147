"""Training one network for one level: configuration, engines, evaluation, checkpoints."""

import os

# What deterministic products on a GPU need; read once, at the first product of the process.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
