"""Arrays out of a trained model: torch in, numpy out, the same for the same generator."""
