"""Imported once, by the process that a sweep's jobs are forked from: what takes seconds is there when they start.

Imports only: torch starts its threads at the first parallel loop and MLflow's store none before it is opened, so
that nothing is lost by a fork.
"""

import signal

# What a run would import by itself: at its first optimizer and deterministic step, when its models are exported,
# and when its record begins. A job has seconds of its own left instead of ten.
import mlflow.pyfunc
import mlflow.pytorch
import mlflow.store.tracking.sqlalchemy_store
import torch._dynamo
import torch._inductor.config
import torch.export
import torch.export._trace
import torch.onnx

import vae_experiments.figures.gallery
import vae_experiments.sweeps.job
import vae_experiments.tracking.tracker  # noqa: F401

# SIGTERM for the whole group, as a cluster or a terminal sends it, is for the jobs: they save and leave.
# This process leaves when the sweep's does.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
