"""Variational-autoencoder experiments: composed by Hydra, trained by PyTorch, recorded by MLflow."""

__version__ = "0.1.0"
