"""The KL taken apart, and the part that makes latent dimensions depend on each other weighted."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vae_experiments.models.posteriors import DiagonalNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.factorised import factorised_posterior, require_factorised
from vae_experiments.objectives.schedules import Progress, Weight, weight_at

Sampling = Literal["weighted", "stratified"]


@dataclass(frozen=True, kw_only=True)
class BetaTCVAE(Objective):
    """Minimises reconstruction + alpha * mutual_information + beta * total_correlation + gamma * dimension_kl,
    in nats per image (Chen et al. 2018).

    The three are log q(z | x) - log q(z), log q(z) - sum_d log q(z_d) and sum_d log q(z_d) - log p(z) at one
    draw of z; together they are log q(z | x) - log p(z), exactly. q(z) is estimated from the batch: the
    images are coupled, and a value of the three compares with others of the same data and batch size alone. N is the
    number of training images in validation too: `val/` figures are those of a data set as large as the training
    part, to be held against `train/`; log of that N, not of the validation part's size, is what "weighted" is off by
    and what bounds the mutual information of "stratified".

    Args:
        alpha: weight of the mutual information between an image's index and its latent; a number or a schedule.
        beta: of the total correlation.
        gamma: of the dimensions' own KL to the prior.
        sampling: how q(z) is estimated. "weighted", the paper's own choice, gives every image of the batch
            the weight 1 / (N B), and with it estimates of log q and the log q_d that are too low by constants of
            the size of log N: gradients to learn from, no figures. "stratified" (its appendix C) gives the
            image that z was drawn for the weight 1 / N and the others the rest, so that the mean is q(z).
    """

    couples_images: ClassVar[bool] = True
    others: ClassVar[tuple[str, ...]] = ("mutual_information", "total_correlation", "dimension_kl")
    alpha: Weight = 1.0
    beta: Weight = 6.0
    gamma: Weight = 1.0
    sampling: Sampling = "weighted"

    def check(self, vae: VAE) -> None:
        require_factorised("beta_tcvae", vae)

    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        output = vae(x, noise)
        reconstruction = -vae.likelihood.log_prob(x, output.params)
        q, z = factorised_posterior(output), output.z
        log_q, log_product = log_aggregate(q, z, progress.images, self.sampling)
        parts = {
            "mutual_information": q.log_prob(z) - log_q,
            "total_correlation": log_q - log_product,
            "dimension_kl": log_product - vae.latents().log_prob(z),
        }
        loss = reconstruction
        for weight, part in zip((self.alpha, self.beta, self.gamma), parts.values(), strict=True):
            loss = loss + weight_at(weight, progress) * part
        return Terms(loss, reconstruction, output.kl, parts)


def log_aggregate(q: DiagonalNormal, z: Tensor, images: int, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """log q(z) and sum_d log q(z_d) of the aggregate posterior of a data set, estimated from a batch; each [B].

    Args:
        q: of the batch.
        z: [B, latent_dim], one drawn from each.
        images: N, in the data set.
        sampling: as `BetaTCVAE` says.
    """
    batch = len(z)
    # Of z_i under the posterior of image j, dimension by dimension: [B, B, D].
    pairs = DiagonalNormal(q.loc[..., None], q.logvar[..., None]).log_prob(z[:, None, :, None])
    if sampling == "weighted":
        weights = torch.full((batch, batch), 1 / (images * batch), device=z.device)
    else:
        weights = torch.full((batch, batch), (images - 1) / (images * max(batch - 1, 1)), device=z.device)
        weights.fill_diagonal_(1 / images)
    log_weights = weights.log()
    log_q = torch.logsumexp(log_weights + pairs.sum(-1), 1)
    log_product = torch.logsumexp(log_weights[..., None] + pairs, 1).sum(-1)
    return log_q, log_product
