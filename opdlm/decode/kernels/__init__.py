"""Triton kernels of the rollout engine; imported on a CUDA device only."""
