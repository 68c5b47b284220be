"""Encoders, decoders, posteriors, priors, likelihoods, and the VAE that composes them."""
