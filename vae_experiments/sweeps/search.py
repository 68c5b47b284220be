"""A search: the jobs of a sweep whose values Optuna chooses, by how the jobs before them went.

What has happened is in the storage alone, each step committed before the next: whoever opens it again, after
whatever end, goes on from there. One process at a time writes it, the sweep's controller.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_experiments.errors import InputError
from vae_experiments.runs.plan import Job, job_name
from vae_experiments.sweeps.search_settings import SECTION, SearchSettings, require_optuna
from vae_experiments.sweeps.source import History, JobSource, Outcome
from vae_experiments.sweeps.study import open_study, storage_errors

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, TrialState

log = logging.getLogger(__name__)

# Attributes of a trial.
JOB = "job"  # of a retry: the number of the job that it runs again
REASON = "reason"  # of a failed one, in one line
KIND = "kind"  # of its failure: "refused" before it ran, "run", or its "value"
HOPELESS = "hopeless"  # the pruner's word, kept for when the controller dies before the job has stopped

REFUSALS = 10  # with no trial accepted before: the space is wrong, not the luck

Make = Callable[[int, Mapping[str, Any]], Job]


@dataclass(frozen=True)
class Best:
    """A trial that no other one beats.

    Args:
        number: its job's.
        values: of each objective, by metric.
        varied: what it was run with, by key.
    """

    number: int
    values: dict[str, float]
    varied: dict[str, Any]


class Search(JobSource):
    """Trial n of the study is job n. The exception is a retry: a new trial, with the values and the job of one that
    failed, since Optuna opens no trial again.

    Constructed over a sweep's folder again, it hands out first what was under way, and once more what had failed.

    Args:
        settings: see `SearchSettings`.
        folder: the sweep's.
        make: writes a job's folder, given its number and values; raises InputError when they cannot work.
            Called again for a job that is handed out again.

    Raises:
        InputError: Optuna is missing, or the storage cannot be opened.
    """

    def __init__(self, settings: SearchSettings, folder: Path, make: Make) -> None:
        optuna = require_optuna()
        self._states = optuna.trial.TrialState
        self._settings, self._make = settings, make
        self._space, self._objectives = settings.space, settings.wanted
        self._study = open_study(settings, folder)
        self._seen: dict[int, int] = {}  # epochs of a job that the pruner was told
        self._hopeless: set[int] = set()
        if len(self._objectives) > 1 and not isinstance(settings.pruner, optuna.pruners.NopPruner):
            log.warning("several objectives: no trial is stopped early, %s.pruner has no part in it", SECTION)
        with storage_errors():
            self._unfinished = self._pick_up()
            kinds = [trial.user_attrs.get(KIND) for trial in self._trials()]
        self._refused = kinds.count("refused")
        self._accepted = len(kinds) > self._refused

    @property
    def left(self) -> int:
        """How many jobs may still come of `next`."""
        with storage_errors():
            waiting = len(self._trials(self._states.WAITING))
            return len(self._unfinished) + waiting + max(0, self._settings.n_trials - self._begun())

    def next(self) -> Job | None:
        with storage_errors():
            while (trial := self._next_trial()) is not None:
                if (job := self._job(trial)) is not None:
                    return job
        return None

    def hopeless(self, job: Job, history: History) -> bool:
        if len(self._objectives) > 1 or len(history) <= self._seen.get(job.number, 0):
            return job.number in self._hopeless
        with storage_errors():
            if (frozen := self._under_way(job.number)) is None:
                return False
            self._seen[job.number] = len(history)
            trial = self._open(frozen)
            for step, row in enumerate(history):
                value = row.get(self._objectives[0].metric, math.nan)
                if math.isfinite(value) and step not in frozen.intermediate_values:
                    trial.report(value, step)
            if trial.should_prune():
                trial.set_user_attr(HOPELESS, True)
                self._hopeless.add(job.number)
        return job.number in self._hopeless

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A job that was stopped by a signal stays under way: a resume continues it."""
        with storage_errors():
            if (trial := self._under_way(job.number)) is None:  # told before, by a process that died after it
                return
            self._unfinished = [other for other in self._unfinished if other.number != trial.number]
            if outcome.status == "FAILED":
                self._fail(trial, "run", outcome.reason or "failed")
            elif outcome.status == "FINISHED":
                values = self._values(outcome.history)
                if isinstance(values, str):
                    log.warning("trial %d counts as failed: %s", job.number, values)
                    self._fail(trial, "value", values)
                else:
                    self._study.tell(trial.number, values)
            elif HOPELESS in trial.user_attrs:
                self._study.tell(trial.number, state=self._states.PRUNED)

    def results(self) -> list[str]:
        return [
            f"best: job {best.number} ({job_name(best.varied)}): "
            + ", ".join(f"{metric} {value:.4g}" for metric, value in best.values.items())
            for best in self.best()
        ]

    def best(self) -> list[Best]:
        """The best trial, or the Pareto front; nothing while no trial is complete. By job number."""
        with storage_errors():
            trials = self._study.best_trials if self._trials(self._states.COMPLETE) else []
        metrics = [objective.metric for objective in self._objectives]
        rows = [
            Best(_job_number(trial), dict(zip(metrics, trial.values, strict=True)), self._varied(trial.params))
            for trial in trials
        ]
        return sorted(rows, key=lambda row: row.number)

    def _pick_up(self) -> "list[FrozenTrial]":
        """What an earlier process left under way. What it had called hopeless is ended, what had failed is queued."""
        latest = {_job_number(trial): trial for trial in self._trials()}
        for number, trial in latest.items():
            if trial.state == self._states.RUNNING and HOPELESS in trial.user_attrs:
                self._study.tell(trial.number, state=self._states.PRUNED)
            elif trial.state == self._states.FAIL and trial.user_attrs.get(KIND) == "run":
                self._study.enqueue_trial(trial.params, user_attrs={JOB: number})
        return self._trials(self._states.RUNNING)

    def _next_trial(self) -> "FrozenTrial | None":
        if self._unfinished:
            return self._unfinished.pop(0)
        if self._begun() >= self._settings.n_trials and not self._trials(self._states.WAITING):
            return None
        number = self._study.ask().number
        return self._study.get_trials(deepcopy=False)[number]

    def _begun(self) -> int:
        """Trials that are no retries, in whatever state."""
        return sum(JOB not in trial.user_attrs for trial in self._trials())

    def _job(self, frozen: "FrozenTrial") -> Job | None:
        """The trial's job; None when it has none: its values cannot work, or were run before."""
        trial, number = self._open(frozen), _job_number(frozen)
        params = {name: dimension.suggest(trial, name) for name, dimension in self._space.items()}
        varied = self._varied(params)
        shown = " ".join(f"{key}={value}" for key, value in varied.items())
        if frozen.params.keys() != params.keys() and JOB not in frozen.user_attrs:  # drawn just now
            for other in self._trials(self._states.COMPLETE):
                if other.params == params:  # runs repeat to the bit
                    log.info("trial %d takes the value of %d, which has run: %s", number, _job_number(other), shown)
                    self._study.tell(frozen.number, other.values)
                    return None
        try:
            job = self._make(number, varied)
        except InputError as error:
            log.warning("trial %d cannot run: %s (%s)", number, error, shown)
            self._fail(frozen, "refused", str(error))
            self._refused += 1
            if not self._accepted and self._refused >= min(REFUSALS, self._settings.n_trials):
                raise
            return None
        self._accepted = True
        return job

    def _values(self, history: History) -> list[float] | str:
        """Each objective at the best epoch; or why there is none."""
        if not history:
            return "it finished no epoch"
        best = history[-1].get("best/epoch")
        if best is None:
            return "it had no best epoch: what it monitors was never finite"
        row = history[int(best) - 1]
        values = [row.get(objective.metric, math.nan) for objective in self._objectives]
        for objective, value in zip(self._objectives, values, strict=True):
            if not math.isfinite(value):
                return f"{objective.metric} of its best epoch, {int(best)}, is {value}"
        return values

    def _varied(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a run is given, for what Optuna calls the values."""
        return {name: dimension.value(params[name]) for name, dimension in self._space.items()}

    def _fail(self, trial: "FrozenTrial", kind: str, reason: str) -> None:
        opened = self._open(trial)
        opened.set_user_attr(REASON, reason)
        opened.set_user_attr(KIND, kind)
        self._study.tell(trial.number, state=self._states.FAIL)

    def _open(self, trial: "FrozenTrial") -> "optuna.Trial":
        """A trial of the storage, to be written on: what `ask` returns only to the process that asked."""
        from optuna import Trial

        self._study.sampler = self._settings.sampler_for(trial.number)
        return Trial(self._study, trial._trial_id)

    def _trials(self, *states: "TrialState") -> "list[FrozenTrial]":
        """In the order they were begun or queued; those in one of the states, if any are given."""
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _under_way(self, number: int) -> "FrozenTrial | None":
        """The running trial of a job."""
        running = self._trials(self._states.RUNNING)
        return next((trial for trial in running if _job_number(trial) == number), None)


def _job_number(trial: "FrozenTrial") -> int:
    return int(trial.user_attrs.get(JOB, trial.number))
