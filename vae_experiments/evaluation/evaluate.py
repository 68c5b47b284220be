"""A whole evaluation: every group of figures that was asked for and that the data can give."""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vae_experiments.data.prepare import ImageData
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.evaluation.aggregate import FEW, aggregate
from vae_experiments.evaluation.bound import bound
from vae_experiments.evaluation.config import EvaluationConfig, What, plain
from vae_experiments.evaluation.diagnosis import ACTIVE
from vae_experiments.evaluation.examined import Examined
from vae_experiments.evaluation.images import squared_errors, ssim
from vae_experiments.evaluation.importance import log_likelihood
from vae_experiments.files import write_atomically
from vae_experiments.generation.images import prior_draws, prior_samples
from vae_experiments.generation.inference import decode_images
from vae_experiments.models.vae import VAE
from vae_experiments.training.randomness import stream

log = logging.getLogger(__name__)

CODED = 10_000  # training images whose codes stand for all of them
COMPARED = 1000  # images held as floats beside their reconstructions


@dataclass
class Evaluation:
    """What was measured.

    Attributes:
        config: what was asked for.
        metrics: by name, `test/elbo` and so on.
        tags: what the metrics must be read with.
        per_dimension: latent dimension by latent dimension.
    """

    config: EvaluationConfig
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    per_dimension: dict[str, list[float]] = field(default_factory=dict)

    @property
    def part(self) -> str:
        """Whose images."""
        return self.config.part

    def add(self, figures: Mapping[str, float | None]) -> None:
        """Takes figures by their short names; None is one that the data cannot give."""
        self.metrics |= {f"{self.part}/{name}": float(v) for name, v in figures.items() if v is not None}

    def write(self, folder: Path) -> Path:
        """Writes `<part>.json` into the folder, which is made if need be; its path."""
        path = folder / f"{self.part}.json"
        content = {
            "metrics": self.metrics,
            "tags": self.tags,
            "per_dimension": self.per_dimension,
            "settings": plain(self.config),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, [json.dumps(content, indent=2).encode() + b"\n"])
        except OSError as error:
            raise RunFailed(f"cannot write {path}: {error.strerror}") from error
        return path


def evaluate(vae: VAE, data: ImageData, config: EvaluationConfig) -> Evaluation:
    """Measures a model on one part of its data. The same model, data and seed give the same figures.

    A group that the data cannot give, such as one about labels where there are none, is left out with a line
    that says why.

    Args:
        vae: in the state to be measured; its modes are left as they are.
        data: what it was trained on, or other data of the same shape.
        config: what to measure, and how.

    Raises:
        InputError: the part holds no images.
    """
    rows: NDArray[np.int64] = getattr(data.parts, config.part)
    if len(rows) == 0:
        raise InputError(
            f"evaluation.part={config.part}: the split leaves no image in it; choose "
            f"evaluation.part={'val' if config.part == 'test' else 'test'}, or another dataset/split when you train"
        )
    task = _Task(vae, data, config, Examined.of(vae, data, np.sort(rows), config.seed))
    found = Evaluation(config, tags=_protocol(vae, data, config))
    if "evaluation.bound" in found.tags:
        log.info("note: %s", found.tags["evaluation.bound"])
    for what in dict.fromkeys(config.what):
        log.info("measuring: %s", what)
        try:
            _GROUPS[what](task, found)
        except InputError as error:
            log.warning("%s is left out: %s", what, error)
    return found


def _protocol(vae: VAE, data: ImageData, config: EvaluationConfig) -> dict[str, str]:
    """What every figure of an evaluation is to be read with."""
    images = {part: len(rows) for part, rows in vars(data.parts).items()}
    tags = {
        "part": config.part,
        "images": str(images[config.part]),
        "seed": str(config.seed),
        "split": ", ".join(f"{count} {part}" for part, count in images.items()),
        "binarization": data.binarization,
        "likelihood": type(vae.likelihood).__name__.lower(),
        "z_mode": "sampled",  # the bound is at draws of z; what says otherwise is at its mean
    }
    misfit = vae.likelihood.misfit(data.pixels)
    if misfit is not None:
        tags["bound"] = misfit
    return {f"evaluation.{name}": value for name, value in tags.items()}


@dataclass(frozen=True)
class _Task:
    """What the groups have in common; what is costly is worked out once, when first used."""

    vae: VAE
    data: ImageData
    config: EvaluationConfig
    examined: Examined

    @cached_property
    def training(self) -> Examined:
        """Some of the training part."""
        rows = np.random.default_rng(self.config.seed).permutation(self.data.parts.train)[:CODED]
        return Examined.of(self.vae, self.data, rows, self.config.seed)

    @property
    def counts_bits(self) -> bool:
        """Whether the likelihood gives these images a probability, and not a density or a mere loss."""
        return self.vae.likelihood.counts_bits(self.data.pixels)

    def bits(self, nats: float) -> float | None:
        """Nats per image as bits per dimension, where they are of a probability."""
        return nats / math.log(2) / math.prod(self.vae.image_shape) if self.counts_bits else None


def _bound(task: _Task, found: Evaluation) -> None:
    of, codes, vae = bound(task.examined), task.examined.codes, task.vae
    elbo = float(of.elbo.mean())
    active = int((codes.activity > ACTIVE).sum())
    mse, similarity = _reconstruction_error(task.examined)
    found.add(
        {
            "elbo": elbo,
            "reconstruction": float(of.reconstruction.mean()),
            "kl": float(of.kl.mean()),
            "bits_per_dim": task.bits(-elbo),
            "active_units": active if vae.posterior.space == "euclidean" else None,
            "mse": mse,
            "ssim": similarity,
        }
    )
    found.per_dimension["activity"] = codes.activity.tolist()
    if task.examined.kl_per_dim is not None:
        found.per_dimension["kl"] = task.examined.kl_per_dim.tolist()


def _reconstruction_error(examined: Examined) -> tuple[float, float]:
    """Mean squared error and structural similarity of the images and the expected ones at their codes."""
    errors, similarities = [], []
    for start in range(0, len(examined), COMPARED):
        rows = slice(start, start + COMPARED)
        shown = decode_images(examined.vae, torch.from_numpy(examined.codes.mean[rows]))
        originals = examined.images[rows] / np.float32(255)
        errors.append(squared_errors(originals, shown))
        similarities.append(ssim(originals, shown))
    return float(np.concatenate(errors).mean()), float(np.concatenate(similarities).mean())


def _likelihood(task: _Task, found: Evaluation) -> None:
    samples = task.config.iw_samples
    of = log_likelihood(task.examined, samples)
    nll = -float(of.values.mean())
    name = f"nll_iw{samples}"
    found.add({name: nll, f"{name}_stderr": of.stderr, f"{name}_draws_stderr": of.draw_stderr})
    found.add({f"{name}_bits_per_dim": task.bits(nll)})


def _aggregate(task: _Task, found: Evaluation) -> None:
    some = task.examined.thinned(task.config.aggregate_images)
    if task.vae.posterior.slow_log_prob and len(some) > FEW:
        some = some.thinned(FEW)
        log.info("the aggregate posterior is of %d images: this posterior takes long over latents of other images", FEW)
    if len(some) < 2:
        raise InputError("an aggregate posterior takes two images at least")
    of = aggregate(some)
    found.add({"mutual_information": of.mutual_information, "marginal_kl": of.marginal_kl})
    found.add({"marginal_kl_gaussian": of.gaussian_kl})
    found.tags["evaluation.aggregate_images"] = str(of.images)
    if not of.overlaps:
        log.info(
            "mutual information is near the most that %d images can show, %.2f nats; marginal_kl is then of these "
            "images and not of the distribution they come from", of.images, of.ceiling,
        )  # fmt: skip


def _latents(task: _Task, found: Evaluation) -> None:
    from vae_experiments.evaluation import latents  # scikit-learn takes a second to import

    config = task.config
    (train, train_labels), (test, test_labels) = _labelled(task, task.training), _labelled(task, task.examined)
    metric: Literal["cosine", "euclidean"] = "cosine" if task.vae.posterior.space == "sphere" else "euclidean"
    four = (train, train_labels, test, test_labels)
    accuracies = latents.knn_accuracy(
        *four, labelled=config.labelled, draws=config.label_draws, metric=metric, seed=config.seed
    )  # fmt: skip
    for size, accuracy in accuracies.items():
        found.add({f"knn_accuracy_{size}": accuracy.mean, f"knn_accuracy_{size}_std": accuracy.std})
    found.add({"linear_probe_accuracy": latents.linear_probe(*four, seed=config.seed)})
    of = latents.clusters(test, test_labels, config.seed)
    if of is not None:
        found.add({"nmi": of.nmi, "ari": of.ari, "silhouette": of.silhouette})


def _labelled(task: _Task, examined: Examined) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    known = np.isin(examined.labels, list(task.data.dataset.class_names))
    if not known.any():
        raise InputError(f"dataset {task.data.dataset.name}: has no labels in this part")
    return examined.codes.mean[known], examined.labels[known]


def _samples(task: _Task, found: Evaluation) -> None:
    from vae_experiments.evaluation.extractor_training import load_or_train
    from vae_experiments.evaluation.samples import density_coverage_precision_recall, frechet_distance

    real = task.examined.thinned(task.config.generated)
    extractor = load_or_train(task.data)
    generator = stream(task.config.seed, "samples")
    # Drawn pixels where they are like the real ones; a density's would be the expected image under noise.
    drawn = task.counts_bits
    new = (prior_draws if drawn else prior_samples)(task.vae, len(real), generator)
    features = extractor.features(real.images / np.float32(255)), extractor.features(new)
    found.add({"frechet": frechet_distance(*features)})
    among = density_coverage_precision_recall(*features)
    if among is not None:
        found.add(vars(among))
    found.tags |= {
        "evaluation.extractor": extractor.digest,  # figures in the features of another one compare with nothing here
        "evaluation.samples": f"{len(new)}, pixels {'drawn' if drawn else 'expected'}",
    }


_GROUPS: Mapping[What, Callable[[_Task, Evaluation], None]] = {
    "bound": _bound,
    "likelihood": _likelihood,
    "aggregate": _aggregate,
    "latents": _latents,
    "samples": _samples,
}


def lines(evaluation: Evaluation) -> Sequence[str]:
    """The metrics as text, a line each, names to the left and values to the right."""
    width = max((len(name) for name in evaluation.metrics), default=0)
    return [f"{name:<{width}}  {value:12.4f}" for name, value in evaluation.metrics.items()]
