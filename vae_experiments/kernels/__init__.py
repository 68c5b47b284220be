"""Kernels of our own, in C, for what PyTorch's libraries leave slow; compiled where there is a compiler."""
