"""Sources of images, each to one uint8 tensor with labels, splits and batches."""
