"""What is wrong with a trained model, in plain words, with the figures it rests on and what to try."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vae_experiments.evaluation.aggregate import Aggregate
from vae_experiments.evaluation.bound import Values

ACTIVE = 0.01  # variance over images of E[z_u | x] above which a unit is active (Burda et al. 2016)
COLLAPSED = 0.01  # nats of KL below which a dimension is

# Thresholds of judgement, not of any source: large enough that a plain, sound run is called healthy.
STILL_RISING = 0.01  # share of the bound that the last tenth of the epochs added
GAP = 0.05  # share of the bound by which training images are better than others
OFF_PRIOR = 1.0  # nats between the aggregate posterior and the prior, and
OFF_PRIOR_SHARE = 0.1  # as a share of the rate
LITTLE_RATE = 1.0  # nats per latent dimension
LEAST = 0.5  # nats that a bound has to move by, however small it is itself


@dataclass(frozen=True)
class Symptoms:
    """What a diagnosis rests on, all of the best epoch's weights.

    Args:
        activity: variance over images of each dimension's posterior mean, [latent_dim].
        kl_per_dim: mean KL of each dimension, nats, [latent_dim]; None where it is not defined dimension by dimension.
        rate: mean KL(q(z | x) || p(z)), nats.
        aggregate: of validation images; None where it was not worked out.
        train_elbo: of some training images, measured as `val_elbo` is, [N].
        val_elbo: of the validation images, [M].
        history: the epochs' metrics, the first one first.
        kl_weight: objective.kl_weight at the end of training; None where the objective has no such key.
        scheduled: whether it moved until then.
        on_sphere: whether latents lie on the sphere, where no variance tells how active a dimension is.
        learned_prior: whether the prior was trained too.
    """

    activity: Values
    kl_per_dim: Values | None
    rate: float
    aggregate: Aggregate | None
    train_elbo: Values
    val_elbo: Values
    history: Sequence[Mapping[str, float]]
    kl_weight: float | None = 1.0
    scheduled: bool = False
    on_sphere: bool = False
    learned_prior: bool = False

    @property
    def inactive(self) -> list[int]:
        """Dimensions that say nothing of the image; on the sphere, where they act together, all or none."""
        if self.on_sphere:
            idle = np.full(len(self.activity), self.information < COLLAPSED * len(self.activity))
        else:
            idle = self.activity <= ACTIVE if self.kl_per_dim is None else self.kl_per_dim < COLLAPSED
        return [int(dim) for dim in np.flatnonzero(idle)]

    @property
    def active(self) -> int:
        """How many dimensions say something of the image."""
        return len(self.activity) - len(self.inactive)

    @property
    def information(self) -> float:
        """What latents say of the image at most, in nats. A rate alone may be that of one posterior for all images."""
        return self.rate if self.aggregate is None else min(self.rate, self.aggregate.mutual_information)

    @property
    def bounds(self) -> list[float]:
        """The validation bound, epoch by epoch, where it is finite."""
        return [row["val/elbo"] for row in self.history if math.isfinite(row["val/elbo"])]

    def with_kl_weight(self, weight: float) -> str:
        """The override that sets the KL weight."""
        return f"objective.kl_weight{'.end' if self.scheduled else ''}={weight:g}"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        name: for the tag, such as "posterior_collapse".
        text: a sentence with its figures.
        cure: an override to try.
    """

    name: str
    text: str
    cure: str


def diagnose(symptoms: Symptoms) -> list[Finding]:
    """Everything that is wrong, the gravest first; nothing for a model in good health."""
    checks = (_posterior_collapse, _over_regularised, _under_trained, _off_the_prior, _overfitting)
    found = [check(symptoms) for check in checks]
    return [finding for finding in found if finding is not None]


def tag(findings: Sequence[Finding]) -> str:
    """The findings' names, or "healthy"."""
    return ", ".join(finding.name for finding in findings) or "healthy"


def description(findings: Sequence[Finding]) -> str:
    """The findings as a few lines of Markdown, each with what to try."""
    if not findings:
        return "Diagnosis: healthy. Every latent dimension is used, and the bound has settled."
    return "\n".join(f"Diagnosis: {finding.text} Try `{finding.cure}`." for finding in findings)


def _posterior_collapse(s: Symptoms) -> Finding | None:
    total, idle = len(s.activity), s.inactive
    if not idle:
        return None
    whole = len(idle) == total
    which = (
        "the whole latent space says" if whole else f"{len(idle)} of {total} latent dimensions ({_listed(idle)}) say"
    )
    lowest = "" if s.kl_per_dim is None else f", {float(s.kl_per_dim[idle].max()):.2g} of them in the fullest of these"
    text = f"Posterior collapse: {which} nothing of the image; the rate is {s.rate:.2f} nats{lowest}."
    if s.kl_weight is not None and s.kl_weight > 1:
        return Finding("posterior_collapse", text, s.with_kl_weight(1))
    used = total - len(idle)
    if s.kl_weight and not s.scheduled:
        # Dimensions given up early, while the decoder could not use them, come back; those not needed do not.
        if not whole:
            text += f" Without the KL's early pressure they may come in; if they do not, {used} are enough."
        end = "" if s.kl_weight == 1 else f" objective.kl_weight.end={s.kl_weight:g}"
        return Finding("posterior_collapse", text, f"+schedule@objective.kl_weight=linear_warmup{end}")
    return Finding("posterior_collapse", text, "objective=free_bits" if whole else f"architecture.latent_dim={used}")


def _over_regularised(s: Symptoms) -> Finding | None:
    total = len(s.activity)
    if s.kl_weight is None or s.kl_weight <= 1 or (s.rate >= LITTLE_RATE * total and not s.inactive):
        return None
    text = (
        f"Over-regularised: at KL weight {s.kl_weight:g} the latents carry {s.rate:.2f} nats, "
        f"{s.rate / total:.2f} a dimension, at the cost of the reconstruction."
    )
    return Finding("over_regularised", text, s.with_kl_weight(max(1, s.kl_weight / 2)))


def _under_trained(s: Symptoms) -> Finding | None:
    bounds, epochs = s.bounds, len(s.history)
    more = f"trainer.max_epochs={2 * max(epochs, 1)}"
    if epochs < 2:
        return Finding("under_trained", "Under-trained: one epoch shows no trend yet.", more)
    last = max(1, epochs // 10)
    if len(bounds) <= last:
        return None
    gain = max(bounds) - max(bounds[:-last])
    if gain <= max(LEAST, STILL_RISING * abs(max(bounds))):
        return None
    when = "its last epoch" if last == 1 else f"its last {last} epochs"
    text = f"Under-trained: the validation bound still rose by {gain:.2f} nats, to {max(bounds):.2f}, in {when}."
    return Finding("under_trained", text, more)


def _off_the_prior(s: Symptoms) -> Finding | None:
    if s.aggregate is None or len(s.inactive) == len(s.activity):
        return None  # of a collapsed posterior it is a consequence
    # What is too small, at worst, and not what is too large: of few images a sound model's marginal_kl is large.
    by_moments = -math.inf if s.aggregate.gaussian_kl is None else s.aggregate.gaussian_kl
    apart = max(s.aggregate.lower_kl, by_moments)
    if apart <= max(OFF_PRIOR, OFF_PRIOR_SHARE * s.rate):
        return None
    text = (
        f"Aggregate posterior off the prior: KL(q(z) || p(z)) is {apart:.2f} nats at least, beside a rate of "
        f"{s.rate:.2f}; samples from the prior will look worse than reconstructions."
    )
    if s.kl_weight is not None and s.kl_weight < 1:
        return Finding("aggregate_off_prior", text, s.with_kl_weight(1))
    early = _under_trained(s)
    if early is not None:  # codes begin far apart and come nearer
        return Finding("aggregate_off_prior", text, early.cure)
    if s.on_sphere:
        return Finding("aggregate_off_prior", text, "objective=elbo objective.kl_weight=2")
    return Finding("aggregate_off_prior", text, "prior=vamp" + (" prior.components=500" if s.learned_prior else ""))


def _overfitting(s: Symptoms) -> Finding | None:
    train, val = float(s.train_elbo.mean()), float(s.val_elbo.mean())
    noise = np.sqrt(s.train_elbo.var() / len(s.train_elbo) + s.val_elbo.var() / len(s.val_elbo))
    said, cure = [], ""
    bounds, epochs = s.bounds, len(s.history)
    if bounds and max(bounds) - bounds[-1] > max(LEAST, STILL_RISING * abs(max(bounds))):
        best = bounds.index(max(bounds)) + 1
        said.append(f"the validation bound fell from {max(bounds):.2f} at epoch {best} to {bounds[-1]:.2f} at the last")
        cure = f"hooks.early_stopping.patience={max(1, min(10, (epochs - best) // 2))}"
    if train - val > max(GAP * abs(val), 4 * noise):
        said.append(f"the bound is {train:.2f} nats on training images and {val:.2f} on others")
        # The best epoch's model too, so stopping there is not enough.
        cure = "optimizer=adamw optimizer.lr=0.004 optimizer.weight_decay=0.1"
    if not said:
        return None
    return Finding("overfitting", f"Overfitting: {' and '.join(said)}.", cure)


def _listed(dims: Sequence[int]) -> str:
    """Dimensions, counted from 1 as in the pictures; of many, the first."""
    shown = ", ".join(str(dim + 1) for dim in dims[:12])
    return shown if len(dims) <= 12 else f"{shown}, ..."
