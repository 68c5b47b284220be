"""Searches against closed forms: what Optuna is told, and that no end of the process loses or doubles a trial."""

import json
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState
from support import BARE, results

from vae_experiments.cli import main
from vae_experiments.config.paths import conf_dir
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.runs.plan import Job
from vae_experiments.sweeps.search import Search
from vae_experiments.sweeps.search_settings import METRICS, SearchSettings, plan_search
from vae_experiments.sweeps.source import Outcome

SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "architecture.latent_dim=range(2,17)", "activation=relu,gelu")


def plain(*space: str, **keys: Any) -> dict[str, Any]:
    """What a plan stores: the shipped keys, some of them changed."""
    shipped = OmegaConf.to_container(OmegaConf.load(conf_dir() / "hydra" / "sweeper" / "optuna.yaml"))
    assert isinstance(shipped, dict)
    swept = OverridesParser.create().parse_overrides(list(space or SPACE))
    own = {str(key): value for key, value in shipped.items() if not str(key).startswith("_")}
    return plan_search({**own, **keys}, {o.key_or_group: o for o in swept})


def settings(*space: str, **keys: Any) -> SearchSettings:
    return SearchSettings.from_plain(json.loads(json.dumps(plain(*space, **keys))))


class Folders:
    """Writes jobs' folders as a planner would; refuses what `refuse` names."""

    def __init__(self, root: Path, refuse: str = "") -> None:
        self.root, self.refuse = root, refuse

    def __call__(self, number: int, varied: Mapping[str, Any]) -> Job:
        if self.refuse and self.refuse in json.dumps(varied):
            raise InputError(f"{self.refuse}: cannot be")
        path = self.root / str(number) / "config.yaml"
        path.parent.mkdir(exist_ok=True, parents=True)
        if path.exists():
            assert json.loads(path.read_text()) == varied, "a job was handed out again with other values"
        path.write_text(json.dumps(varied))
        return Job(number, str(number), dict(varied), "digest")


def elbo(varied: Mapping[str, Any]) -> float:
    """Best, at -100, for a learning rate of 1e-3 and 8 latent dimensions."""
    lr, latent_dim = varied["optimizer.lr"], varied["architecture.latent_dim"]
    return float(-100 - 5 * math.log10(lr / 1e-3) ** 2 - abs(latent_dim - 8) - (varied["activation"] == "gelu"))


def finished(varied: Mapping[str, Any], epochs: int = 3) -> Outcome:
    """Best in the last epoch but one."""
    values = [elbo(varied) - abs(epochs - 2 - epoch) for epoch in range(epochs)]
    rows = [
        {"val/elbo": value, "val/kl": 5.0, "best/epoch": min(epoch + 1, epochs - 1)}
        for epoch, value in enumerate(values)
    ]
    return Outcome("FINISHED", history=rows)


def trials(folder: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder}/optuna.db").trials


def run_all(search: Search) -> list[Job]:
    jobs = []
    while (job := search.next()) is not None:
        search.ended(job, finished(job.varied))
        jobs.append(job)
    return jobs


def test_optuna_is_told_each_job_s_value_at_its_best_epoch(tmp_path: Path) -> None:
    search = Search(settings(n_trials=4), tmp_path, Folders(tmp_path))
    jobs = run_all(search)
    assert [job.number for job in jobs] == [0, 1, 2, 3]
    assert [trial.value for trial in trials(tmp_path)] == [elbo(job.varied) for job in jobs]
    assert all(1e-4 <= job.varied["optimizer.lr"] <= 1e-2 for job in jobs)
    (best,) = search.best()
    winner = max(jobs, key=lambda job: elbo(job.varied))
    assert (best.number, best.values, best.varied) == (winner.number, {"val/elbo": elbo(winner.varied)}, winner.varied)


def test_tpe_learns_where_the_good_values_are(tmp_path: Path) -> None:
    means = {}
    for sampler in ("tpe", "random"):
        chosen = settings(n_trials=25, sampler=sampler, storage="sqlite:///:memory:", study=sampler)
        late = run_all(Search(chosen, tmp_path, Folders(tmp_path / sampler)))[12:]
        means[sampler] = sum(elbo(job.varied) for job in late) / len(late)
    assert means["tpe"] > means["random"] + 1


def test_several_trials_may_run_at_once_and_end_in_any_order(tmp_path: Path) -> None:
    search = Search(settings(n_trials=5), tmp_path, Folders(tmp_path))
    jobs = [job for job in (search.next() for _ in range(7)) if job is not None]
    assert len(jobs) == 5
    for job in reversed(jobs):
        search.ended(job, finished(job.varied))
    assert [trial.value for trial in trials(tmp_path)] == [elbo(job.varied) for job in jobs]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome("FAILED", "out of memory"), "out of memory"),
        (Outcome("FINISHED"), "it finished no epoch"),
        (Outcome("FINISHED", history=[{"val/elbo": math.nan}]), "was never finite"),
        (Outcome("FINISHED", history=[{"val/elbo": -math.inf, "best/epoch": 1}]), "is -inf"),
        (Outcome("FINISHED", history=[{"val/kl": 1.0, "best/epoch": 1}]), "is nan"),
    ],
)
def test_a_job_without_a_value_is_a_failed_trial_and_the_search_goes_on(
    tmp_path: Path, outcome: Outcome, reason: str
) -> None:
    search = Search(settings(n_trials=2), tmp_path, Folders(tmp_path))
    job = search.next()
    assert job is not None
    search.ended(job, outcome)
    assert [job.number for job in run_all(search)] == [1]
    failed, complete = trials(tmp_path)
    assert (failed.state, complete.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert reason in failed.user_attrs["reason"]
    assert [best.number for best in search.best()] == [1]


def test_the_pruner_stops_what_falls_behind_from_the_second_epoch_on(tmp_path: Path) -> None:
    search = Search(settings(n_trials=7), tmp_path, Folders(tmp_path))
    for _ in range(5):
        job = search.next()
        assert job is not None
        history = [{"val/elbo": -100.0 + epoch, "best/epoch": epoch + 1} for epoch in range(3)]
        assert not any(search.hopeless(job, history[:epochs]) for epochs in (1, 2, 3))
        search.ended(job, Outcome("FINISHED", history=history))
    job = search.next()
    assert job is not None
    bad = [{"val/elbo": -200.0, "best/epoch": 1}, {"val/elbo": -190.0, "best/epoch": 2}]
    assert [search.hopeless(job, bad[:1]), search.hopeless(job, bad), search.hopeless(job, bad)] == [False, True, True]
    search.ended(job, Outcome("STOPPED", history=bad))
    good = search.next()
    assert good is not None
    assert not search.hopeless(good, [{"val/elbo": -90.0, "best/epoch": 1}] * 2)
    pruned = trials(tmp_path)[5]
    assert pruned.state == TrialState.PRUNED
    assert pruned.intermediate_values == {0: -200.0, 1: -190.0}


def test_what_was_called_hopeless_before_the_controller_died_is_not_run_again(tmp_path: Path) -> None:
    search = Search(settings(n_trials=2, pruner={"_target_": "optuna.pruners.ThresholdPruner", "lower": 0.0}),
                    tmp_path, Folders(tmp_path))  # fmt: skip
    job = search.next()
    assert job is not None
    assert search.hopeless(job, [{"val/elbo": -1.0}])
    again = Search(settings(n_trials=2), tmp_path, Folders(tmp_path))
    assert [job.number for job in run_all(again)] == [1]
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.PRUNED, TrialState.COMPLETE]


def test_a_resume_continues_what_was_stopped_and_counts_what_was_done(tmp_path: Path) -> None:
    search = Search(settings(n_trials=5), tmp_path, Folders(tmp_path))
    jobs = [job for job in (search.next() for _ in range(3)) if job is not None]
    search.ended(jobs[1], finished(jobs[1].varied))
    search.ended(jobs[2], Outcome("STOPPED"))
    resumed = Search(settings(n_trials=5), tmp_path, Folders(tmp_path))
    assert resumed.left == 4
    again = run_all(resumed)
    assert resumed.left == 0
    assert [job.number for job in again] == [0, 2, 3, 4]
    assert [again[0], again[1]] == [jobs[0], jobs[2]]
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE] * 5
    assert Search(settings(n_trials=5), tmp_path, Folders(tmp_path)).next() is None


def test_a_resume_draws_what_the_uninterrupted_search_would_have_drawn(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = run_all(Search(settings(n_trials=12), tmp_path / "whole", Folders(tmp_path / "whole")))
    parts: list[Job] = []
    for stop in (4, 11, 12):  # the last ones are TPE's own
        search = Search(settings(n_trials=12), tmp_path / "parts", Folders(tmp_path / "parts"))
        while len(parts) < stop and (job := search.next()) is not None:
            search.ended(job, finished(job.varied))
            parts.append(job)
    assert parts == whole
    assert len({json.dumps(job.varied) for job in whole}) == 12


def test_a_failed_job_is_run_once_more_by_a_resume_as_the_same_job(tmp_path: Path) -> None:
    search = Search(settings(n_trials=3), tmp_path, Folders(tmp_path))
    first = search.next()
    assert first is not None
    search.ended(first, Outcome("FAILED", "disk full"))
    assert search.next() is not None
    search = Search(settings(n_trials=3), tmp_path, Folders(tmp_path))
    assert search.left == 3
    again = run_all(search)
    assert [job.number for job in again] == [1, 0, 3]  # trial 2 is job 0's second try
    assert again[1] == first
    told = trials(tmp_path)
    assert [trial.state.name for trial in told] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert told[2].params == told[0].params
    assert told[2].value == elbo(first.varied)
    assert run_all(Search(settings(n_trials=3), tmp_path, Folders(tmp_path))) == []


def test_a_value_that_is_not_finite_is_not_tried_again(tmp_path: Path) -> None:
    search = Search(settings(n_trials=1), tmp_path, Folders(tmp_path))
    job = search.next()
    assert job is not None
    search.ended(job, Outcome("FINISHED", history=[{"val/elbo": math.nan}]))
    assert Search(settings(n_trials=1), tmp_path, Folders(tmp_path)).next() is None


def test_values_that_cannot_work_fail_their_trial_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    search = Search(settings(n_trials=8), tmp_path, Folders(tmp_path, refuse="gelu"))
    jobs = run_all(search)
    states = [trial.state for trial in trials(tmp_path)]
    assert 0 < len(jobs) < 8
    assert states.count(TrialState.COMPLETE) == len(jobs)
    assert states.count(TrialState.FAIL) == 8 - len(jobs)
    assert "cannot run: gelu: cannot be (optimizer.lr=" in caplog.text
    assert Search(settings(n_trials=8), tmp_path, Folders(tmp_path)).next() is None


def test_a_space_of_which_nothing_works_ends_the_search(tmp_path: Path) -> None:
    search = Search(settings(n_trials=50), tmp_path, Folders(tmp_path, refuse="lr"))
    with pytest.raises(InputError, match="lr: cannot be"):
        search.next()
    assert len(trials(tmp_path)) == 10


def test_what_has_run_is_not_run_again(tmp_path: Path) -> None:
    space = ("optimizer.lr=1e-3,1e-2", "architecture.latent_dim=2,4", "activation=choice(relu)")
    jobs = run_all(Search(settings(*space, n_trials=8), tmp_path, Folders(tmp_path)))
    assert len({json.dumps(job.varied) for job in jobs}) == len(jobs) <= 4
    told = trials(tmp_path)
    assert len(told) == 8
    for trial in told:
        same = next(job for job in jobs if trials_params(job) == trial.params)
        assert trial.value == elbo(same.varied)


def trials_params(job: Job) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in job.varied.items()}


def test_several_objectives_give_the_pareto_front(tmp_path: Path) -> None:
    wanted = ["minimize val/reconstruction", "minimize val/kl"]
    space = ("objective.kl_weight=choice(0.5,1,2,4)",)
    search = Search(settings(*space, n_trials=12, objectives=wanted), tmp_path, Folders(tmp_path))
    while (job := search.next()) is not None:
        weight = job.varied["objective.kl_weight"]
        row = {"val/reconstruction": 100 + 10 * weight, "val/kl": 20 / weight, "best/epoch": 1}
        if weight == 4:  # beaten by 2 in both
            row = {"val/reconstruction": 200.0, "val/kl": 15.0, "best/epoch": 1}
        assert not search.hopeless(job, [row])
        search.ended(job, Outcome("FINISHED", history=[row]))
    front = {best.varied["objective.kl_weight"]: best.values for best in search.best()}
    assert front == {w: {"val/reconstruction": 100 + 10 * w, "val/kl": 20 / w} for w in (0.5, 1, 2)}


def killed_at_commit(folder: Path, commit: int) -> None:
    """A search's loop in a process that is killed just before the database's n-th commit."""
    count = 0

    def strike(_: object) -> None:
        nonlocal count
        count += 1
        if count == commit:
            os.kill(os.getpid(), signal.SIGKILL)

    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", strike)
    search = Search(settings(n_trials=6, pruner={"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 1}),
                    folder, Folders(folder))  # fmt: skip
    while (job := search.next()) is not None:
        outcome = finished(job.varied)
        if job.number == 1 and not (folder / "failed").exists():
            (folder / "failed").touch()
            outcome = Outcome("FAILED", "once")
        elif any(search.hopeless(job, outcome.history[:epochs]) for epochs in (1, 2, 3)):
            outcome = Outcome("STOPPED", history=outcome.history)
        search.ended(job, outcome)


def test_sigkill_before_any_commit_loses_and_doubles_no_trial(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    optuna.create_study(storage="sqlite:///:memory:")  # imports what every process would import again
    codes = []
    for commit in (*range(1, 25), 10_000, 10_000):  # the last one retries what failed in the one before
        process = context.Process(target=killed_at_commit, args=(tmp_path, commit))
        process.start()
        process.join()
        codes.append(process.exitcode)
    assert set(codes) == {0, -signal.SIGKILL}
    assert codes.count(-signal.SIGKILL) > 10
    told = trials(tmp_path)
    own = [trial for trial in told if "job" not in trial.user_attrs]
    assert len(own) == 6
    assert all(trial.state.is_finished() for trial in told)
    for trial in told:
        varied = json.loads((tmp_path / str(trial.user_attrs.get("job", trial.number)) / "config.yaml").read_text())
        assert trial.params == varied
        if trial.state == TrialState.COMPLETE:
            assert trial.value == elbo(varied)
    last = {trial.user_attrs.get("job", trial.number): trial.state for trial in told}
    assert len(last) == 6
    assert TrialState.FAIL not in last.values()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"n_trials": 0}, "hydra.sweeper.n_trials=0"),
        ({"n_trails": 3}, "hydra.sweeper.n_trails: no such key; did you mean 'n_trials'?"),
        ({"objectives": []}, "hydra.sweeper.objectives: is empty"),
        ({"objectives": ["val/elbo"]}, "such as 'maximize val/elbo'"),
        ({"objectives": ["maximise val/elbo"]}, "did you mean 'maximize'?"),
        ({"objectives": ["maximize val/elbow"]}, "did you mean 'val/elbo'?"),
        ({"objectives": ["maximize val/kl", "minimize val/kl"]}, "stands there twice"),
        ({"sampler": "tpee"}, "hydra.sweeper.sampler=tpee: no such sampler; did you mean 'tpe'?"),
        ({"sampler": {"_target_": "optuna.samplers.TPESampler", "n_startup": 3}}, "hydra.sweeper.sampler.n_startup"),
        ({"pruner": "medain"}, "did you mean 'median'?"),
        ({"pruner": {"_target_": "optuna.samplers.RandomSampler"}}, "must be of optuna.pruners"),
    ],
)
def test_a_mistaken_setting_is_refused_in_one_line(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as refused:
        plain(**keys)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_metrics_that_may_be_asked_for_are_those_that_a_run_logs() -> None:
    assert main(["train", *BARE, "trainer.max_epochs=1", "hydra.run.dir=run"]) == 0
    (row,) = results(Path("run"))
    logged = {name for name in row if not name.startswith("best/")}
    assert logged == {name for name in METRICS if not name.startswith("time/")}


def test_a_stored_search_names_no_classes_but_optunas() -> None:
    stored = {**plain(), "pruner": {"_target_": "subprocess.Popen", "args": ["true"]}}
    with pytest.raises(InputError, match="may only name classes of optuna"):
        SearchSettings.from_plain(stored)


def test_without_optuna_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = plain()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'vae-experiments\[search\]'"):
        SearchSettings.from_plain(stored)


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match=r"optuna\.db: cannot be opened as an Optuna storage: file is not a database"):
        Search(settings(), tmp_path, Folders(tmp_path))


def test_a_database_that_goes_away_ends_the_search_with_one_line(tmp_path: Path) -> None:
    search = Search(settings(n_trials=3), tmp_path, Folders(tmp_path))
    job = search.next()
    assert job is not None
    with sqlalchemy.create_engine(f"sqlite:///{tmp_path}/optuna.db").begin() as connection:
        connection.execute(sqlalchemy.text("ALTER TABLE trials RENAME TO away"))
    with pytest.raises(RunFailed, match="no such table: trials; when it can, 'vae resume' goes on"):
        search.ended(job, finished(job.varied))


def test_a_folder_s_name_may_hold_what_a_url_may_not(tmp_path: Path) -> None:
    folder = tmp_path / "lr={1}?x=%20#"
    folder.mkdir()
    run_all(Search(settings(n_trials=2), folder, Folders(folder)))
    assert (folder / "optuna.db").stat().st_size > 0
    assert Search(settings(n_trials=2), folder, Folders(folder)).next() is None


def test_two_sweeps_do_not_share_a_study(tmp_path: Path) -> None:
    shared = settings(n_trials=1, storage=f"sqlite:///{tmp_path}/shared.db", study="mine")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    run_all(Search(shared, tmp_path / "a", Folders(tmp_path / "a")))
    with pytest.raises(InputError, match=r"study 'mine' belongs to .*/a; name another"):
        Search(shared, tmp_path / "b", Folders(tmp_path / "b"))
    assert Search(shared, tmp_path / "a", Folders(tmp_path / "a")).next() is None
