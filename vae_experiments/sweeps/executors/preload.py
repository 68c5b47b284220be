"""Imported once, by the process that a sweep's jobs are forked from: what takes seconds is there when they start."""

import signal

# What every job would import by itself, at its first optimizer and its first deterministic step.
# Torch starts its threads at the first parallel loop, and MLflow none: nothing here is lost by a fork.
import vae_experiments.figures.gallery
import vae_experiments.sweeps.job
import vae_experiments.tracking.tracker  # noqa: F401

# SIGTERM for the whole group, as a cluster or a terminal sends it, is for the jobs: they save and leave.
# This process leaves when the sweep's does.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
