"""vae evaluate: what a trained model is worth."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from vae_experiments.config.verb import ref_first, run_verb
from vae_experiments.evaluation.config import EvaluationConfig
from vae_experiments.tracking.config import TrackingConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The keys of conf/evaluate.yaml.

    Args:
        run: REF of the run.
        trust: packages of yours whose classes the stored config may name.
        evaluation: what to measure, and on which images.
        tracking: the store to find the run in, and to add the figures to.
    """

    run: str = "latest"
    trust: list[str] = field(default_factory=list)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae evaluate --help`."""
    run_verb("evaluate", ref_first(arguments, EvaluateConfig), EvaluateConfig, evaluate)


def evaluate(config: EvaluateConfig) -> None:
    """Measures the best epoch's model, prints the figures, and adds them to the MLflow run and to its folder.

    Raises:
        InputError: no such run, a part without images, or a store that cannot be reached.
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from vae_experiments.evaluation.evaluate import evaluate, lines
    from vae_experiments.runs.stored import store_of
    from vae_experiments.runs.story import note
    from vae_experiments.runs.trained import load_run

    run = load_run(config.run, config.tracking, config.trust)
    store = store_of(run.reference, config.tracking)  # before the work, not after it
    evaluation = evaluate(run.vae(), run.data(), config.evaluation)
    print(*lines(evaluation), sep="\n")
    with TemporaryDirectory() as scratch:
        path = evaluation.write((run.reference.folder or Path(scratch)) / "evaluation")
        if run.reference.folder is not None:
            log.info("%s", path)
        if store is not None and run.reference.run_id is not None:
            history = run.content["state"]["history"]
            said = {} if run.reference.folder is None else note(run.reference.folder, history)
            store.add_metrics(run.reference.run_id, evaluation.metrics, {**evaluation.tags, **said})
            store.add_artifact(run.reference.run_id, path, "evaluation")
