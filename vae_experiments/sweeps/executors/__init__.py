"""Where a sweep's jobs run: processes of this machine, or a cluster's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from vae_experiments.config.construct import Later, construct
from vae_experiments.errors import InputError
from vae_experiments.sweeps.executors.base import Executor
from vae_experiments.sweeps.executors.local import LocalExecutor

_PACKAGE = "vae_experiments.sweeps.executors."


@dataclass(frozen=True, kw_only=True)
class _Launcher:
    launcher: Annotated[Callable[..., Executor], Later("folder", "jobs", "gpus")]


def is_local(launcher: Mapping[str, Any]) -> bool:
    """Whether jobs run on this machine, whose cores and memory they share.

    Raises:
        InputError: it is a launcher of Hydra's or of another plugin.
    """
    target = str(launcher.get("_target_"))
    if not target.startswith(_PACKAGE):
        raise InputError(
            f"hydra/launcher: {target} cannot run these sweeps; use hydra/launcher=local, with sweep.jobs=1 for one "
            "job after another, or hydra/launcher=slurm"
        )
    return target == f"{LocalExecutor.__module__}.{LocalExecutor.__qualname__}"


def build_executor(launcher: Mapping[str, Any], folder: Path, jobs: int, gpus: int) -> Executor:
    """The executor that a plan's launcher names.

    Args:
        launcher: plain config, with its `_target_`.
        folder: the sweep's.
        jobs: at once.
        gpus: of this machine, to be shared out.

    Raises:
        InputError: a key is wrong, or what it needs is not there.
    """
    is_local(launcher)
    return construct(_Launcher, {"launcher": launcher}).launcher(folder=folder, jobs=jobs, gpus=gpus)
