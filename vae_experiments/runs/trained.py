"""A trained model, found by REF and put together again from its checkpoint."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vae_experiments.config.construct import TRUSTED
from vae_experiments.data.prepare import ImageData, prepare
from vae_experiments.data.source import Source
from vae_experiments.errors import InputError
from vae_experiments.models.build import build_vae
from vae_experiments.models.layers import compute_by
from vae_experiments.models.vae import VAE
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.reference import Reference, resolve
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store
from vae_experiments.training.checkpoints import BEST, LAST, load_checkpoint


@dataclass(frozen=True)
class TrainedRun:
    """A run's best checkpoint, as read back."""

    reference: Reference
    config: RunConfig
    content: dict[str, Any]

    def data(self, source: Source | None = None) -> ImageData:
        """The run's own images, split as it was; or those of another source."""
        return prepare(source or self.config.dataset, self.config.seed)

    def vae(self) -> VAE:
        """The model, on the CPU, ready to be used.

        Raises:
            InputError: its weights are of another network than its config now makes.
        """
        c = self.config
        vae = build_vae(c.architecture, c.posterior, c.prior, c.likelihood, tuple(self.content["image_shape"]))
        try:
            vae.load_state_dict(self.content["state"]["vae"])
        except RuntimeError as error:
            raise InputError(
                f"{self.reference.name}: its checkpoint does not fit the network that its config names: it was written "
                "by another version of that architecture"
            ) from error
        compute_by(vae, rewritten=c.trainer.rewritten_layers, kernels=c.trainer.kernels)
        vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # however it was trained: codes come twice as fast
        return vae.eval()


def load_run(ref: str, tracking: TrackingConfig, trust: Sequence[str] = ()) -> TrainedRun:
    """The run that `ref` names, with its best checkpoint; the last one where it has no best yet.

    Args:
        ref: see `runs.reference.resolve`.
        tracking: the store to look in.
        trust: packages of the user's own whose classes the stored config may name.

    Raises:
        InputError: no such run, no whole checkpoint, or a config that names what is not trusted.
    """
    reference = resolve(ref, tracking)
    content = _content(reference, tracking)
    return TrainedRun(reference, RunConfig.of(content["config"], (*TRUSTED, *trust)), content)


def _content(reference: Reference, tracking: TrackingConfig) -> dict[str, Any]:
    if reference.folder is not None:
        for name in (BEST, LAST):
            path = reference.folder / "checkpoints" / name
            if path.exists():
                return load_checkpoint(path)
    if reference.run_id is None or not tracking.enabled:
        raise InputError(f"{reference.name}: has no checkpoint yet")
    with tempfile.TemporaryDirectory() as folder:
        return load_checkpoint(Store.open(tracking).download(reference.run_id, f"checkpoints/{BEST}", Path(folder)))
