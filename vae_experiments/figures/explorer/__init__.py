"""The explorer: a page in which the latent space of a trained model is moved about in, its decoder at work."""
