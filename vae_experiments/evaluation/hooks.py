"""Hooks that measure: a diagnosis of every run, and where it is asked for the whole evaluation."""

import json
import logging
from contextlib import suppress
from dataclasses import dataclass

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.evaluation.config import DIAGNOSIS, EvaluationConfig
from vae_experiments.training.run import Hook, TrainingRun

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Diagnosis(Hook):
    """Says in plain words what is wrong with the best epoch's model: a tag, the description, and in the folder."""

    def on_end(self, run: TrainingRun) -> None:
        from vae_experiments.evaluation.checkup import checkup
        from vae_experiments.evaluation.diagnosis import description, diagnose, tag

        try:
            weight = run.objective.kl_weight_at(run.progress)
            scheduled = "kl_weight" in run.objective.scheduled(run.progress)
            with run.hardware.autocast():  # as its epochs were measured
                symptoms = checkup(run.state.vae, run.data, run.state.history, weight, run.seed, scheduled=scheduled)
            findings = diagnose(symptoms)
        except (InputError, RunFailed):
            raise
        except Exception as error:  # what is said of a run is never worth the run
            log.warning("no diagnosis: %s", error, exc_info=True)
            return
        for line in description(findings).splitlines():
            log.info("%s", line)
        figures = {"best/active_units": float(symptoms.active)}
        said = {"tag": tag(findings), "text": description(findings), "figures": figures}
        with suppress(OSError):  # nor is this
            (run.folder / DIAGNOSIS).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        run.record.set_tags({"diagnosis": tag(findings)})
        run.record.log_metrics(figures, 0)


@dataclass(kw_only=True)
class Evaluate(Hook):
    """The evaluation that `vae evaluate` makes, of the best epoch's model, where `after_training` says so.

    Args:
        config: what to measure.
    """

    config: EvaluationConfig

    def on_end(self, run: TrainingRun) -> None:
        if not self.config.after_training:
            return
        from vae_experiments.evaluation.evaluate import evaluate

        evaluation = evaluate(run.state.vae, run.data, self.config)
        path = evaluation.write(run.folder / "evaluation")
        run.record.log_metrics(evaluation.metrics, 0)
        run.record.set_tags(evaluation.tags)
        run.record.log_artifact(path, "evaluation")
