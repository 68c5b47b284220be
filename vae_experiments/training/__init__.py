"""The loop, its state, checkpoints, devices and precision."""
