"""Trained models at work: in Python, in other formats, in MLflow's registry."""
