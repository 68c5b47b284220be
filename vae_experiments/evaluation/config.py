"""The keys of an evaluation."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen

from vae_experiments.data.splits import Seed

DIAGNOSIS = "diagnosis.json"  # in the run's folder

What = Literal["bound", "likelihood", "aggregate", "latents", "samples"]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured on a trained model, and on which images.

    Args:
        after_training: also at the end of every training run, on its best epoch.
        what: the groups of figures to work out: `bound` (its parts, active units, reconstruction error),
            `likelihood` (by importance weighting), `aggregate` (mutual information, KL(q(z) || p(z))),
            `latents` (what the codes say about the labels), `samples` (new images against real ones).
        part: whose images are measured.
        iw_samples: latents per image of the importance-weighted log-likelihood.
        aggregate_images: images that make up the aggregate posterior, at most.
        labelled: numbers of labelled images that the nearest-neighbour classifier is given.
        label_draws: draws of those images, to be averaged over.
        generated: images drawn from the model, and real ones, that samples are judged by, at most.
        seed: of every draw.
    """

    after_training: bool = False
    what: Annotated[list[What], MinLen(1)] = field(
        default_factory=lambda: ["bound", "likelihood", "aggregate", "latents", "samples"]
    )
    part: Literal["test", "val"] = "test"
    iw_samples: Annotated[int, Ge(1)] = 500
    aggregate_images: Annotated[int, Ge(2)] = 10_000
    labelled: list[Annotated[int, Ge(1)]] = field(default_factory=lambda: [100, 600, 1000])
    label_draws: Annotated[int, Ge(1)] = 20
    generated: Annotated[int, Ge(2)] = 10_000
    seed: Seed = 0


def plain(config: EvaluationConfig) -> dict[str, Any]:
    """The keys that figures depend on, as they are kept beside them."""
    return {key: value for key, value in asdict(config).items() if key != "after_training"}
