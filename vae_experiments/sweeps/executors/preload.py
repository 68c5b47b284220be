"""Imported once, by the process that a sweep's jobs are forked from: what takes seconds is there when they start.

Imports, and what would be found out by each job anew. Nothing of that starts what a fork would lose or break: torch's
threads, which begin with the first loop that is long enough for two; those of MLflow's store; CUDA.
"""

import gc
import signal
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from vae_experiments import garbage

MODULES = (
    "vae_experiments.sweeps.job",
    "vae_experiments.tracking.tracker",
    "vae_experiments.figures.gallery",
    # What a run would import by itself: at its first optimizer and deterministic step,
    "torch._dynamo",
    "torch._inductor.config",
    # when its models are exported,
    "torch.export._trace",
    "torch.onnx",
    "mlflow.pyfunc",
    "mlflow.pytorch",
    # and when its record begins.
    "mlflow.store.tracking.sqlalchemy_store",
)

garbage.seldom()
with garbage.never():
    for module in MODULES:
        import_module(module)
with garbage.never(), suppress(Exception):  # if not here, each job finds out by itself
    import torch

    from vae_experiments.kernels import compiled
    from vae_experiments.runs.story import default_config
    from vae_experiments.tracking.environment import packages
    from vae_experiments.tracking.models import save_model

    for precision in (torch.bfloat16, torch.float32):
        compiled.kernels(precision)
    compiled.updates()
    default_config()  # which each job is compared with
    packages()
    # torch.export fills its tables; but it asks whether there is a GPU, which no process may that forks.
    if not (torch.backends.cuda.is_built() or torch.xpu._is_compiled()):
        with tempfile.TemporaryDirectory() as scratch:
            save_model(torch.nn.Linear(1, 1), torch.zeros(2, 1), Path(scratch) / "model")
gc.freeze()  # jobs share this memory as long as no one writes to it, were it but to look for garbage

# SIGTERM for the whole group, as a cluster or a terminal sends it, is for the jobs: they save and leave.
# This process leaves when the sweep's does.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
