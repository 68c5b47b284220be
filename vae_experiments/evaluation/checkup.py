"""What a diagnosis rests on, gathered from a model at the end of its training: seconds, not minutes."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vae_experiments.data.prepare import ImageData
from vae_experiments.evaluation.aggregate import aggregate
from vae_experiments.evaluation.bound import bound
from vae_experiments.evaluation.diagnosis import Symptoms
from vae_experiments.evaluation.examined import Examined
from vae_experiments.models.vae import VAE

CHECKED = 1000  # images of the training part, and of the validation part
SLOW = 200  # of the validation part, where log q(z | x) of a latent of another image's takes long


def checkup(
    vae: VAE,
    data: ImageData,
    history: Sequence[Mapping[str, float]],
    kl_weight: float | None,
    seed: int,
    *,
    scheduled: bool = False,
) -> Symptoms:
    """Measures some training and some validation images, the same ones for every run of a dataset and seed.

    Args:
        vae: the weights to be judged.
        data: what it was trained on.
        history: the epochs' metrics, the first one first.
        kl_weight: objective.kl_weight at the end of training; None where the objective has no such key.
        seed: of what is drawn.
        scheduled: whether the weight moved.
    """

    def some(rows: NDArray[np.int64]) -> Examined:
        return Examined.of(vae, data, np.random.default_rng(seed).permutation(rows)[:CHECKED], seed)

    validation = some(data.parts.val)
    measured = bound(validation)
    pairs = validation.thinned(SLOW) if vae.posterior.slow_log_prob else validation
    return Symptoms(
        activity=validation.codes.activity,
        kl_per_dim=validation.kl_per_dim,
        rate=float(measured.kl.mean()),
        aggregate=aggregate(pairs) if len(pairs) > 1 else None,
        train_elbo=bound(some(data.parts.train)).elbo,
        val_elbo=measured.elbo,
        history=history,
        kl_weight=kl_weight,
        scheduled=scheduled,
        learned_prior=vae.prior.learned,
        on_sphere=vae.posterior.space == "sphere",
    )
