"""What a person reads of a sweep before and while it runs."""

import io
import logging
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from vae_experiments.runs.plan import Job, Plan, job_name
from vae_experiments.sweeps.board import Board
from vae_experiments.sweeps.capacity import Capacity
from vae_experiments.sweeps.cost import Cost
from vae_experiments.sweeps.plan_table import PlanTable, makespan
from vae_experiments.sweeps.progress import Progress
from vae_experiments.sweeps.source import Outcome

LATENT, WEIGHT = "architecture.latent_dim", "objective.kl_weight"
TWO = Capacity(2, 1, "2 cores")


def make_plan(n: int, keys: dict[str, list[object]], search: dict[str, object] | None = None) -> Plan:
    jobs = []
    for i in range(n):
        varied = {key: values[i % len(values)] for key, values in keys.items()}
        jobs.append(Job(i, job_name(varied), varied, ""))
    return Plan("latent_sweep", [], list(keys), jobs, None, {}, {}, "continue", "", search)


GRID: dict[str, list[object]] = {LATENT: [2, 4, 8, 16], WEIGHT: [0.5, 1, 4.0]}


def make_cost(seconds: float, *, approximate: bool = False) -> Cost:
    return Cost(550_629, 0.01, seconds / 10, seconds, 860_000_000, approximate)


def printed(
    plan: Plan,
    costs: list[Cost | None],
    capacity: Capacity | None = TWO,
    duplicates: tuple[str, ...] = (),
    width: int = 80,
) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(PlanTable(plan, costs, capacity, duplicates))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert file.getvalue().isascii()
    return [line.rstrip() for line in lines]


def test_a_plan_as_it_is_read() -> None:
    costs = [make_cost(130.0), make_cost(45.0, approximate=True), None]
    lines = printed(make_plan(3, GRID), costs, duplicates=("latent_dim=2 kl_weight=0.5",) * 2)
    assert lines[:6] == [
        "latent_sweep: 3 jobs",
        "#  latent_dim  kl_weight  parameters   memory        time",
        "0           2        0.5       551 k   0.9 GB  2 min 10 s",
        "1           4          1       551 k  ~0.9 GB       ~45 s",
        "2           8          4           -        -           -",
        "2 duplicates dropped: latent_dim=2 kl_weight=0.5 (2 times)",
    ]
    assert lines[7].startswith("2 at once (2 cores), 1 thread each; 1.7 GB of memory, ")
    # The third is taken to last as long as the mean of the two: 130 s beside 45 s + 87.5 s.
    assert lines[8] == "about 2 min 12 s in all"


def test_one_job() -> None:
    lines = printed(make_plan(1, GRID), [make_cost(5.0)], Capacity(1, 2, "one job"))
    assert lines[0] == "latent_sweep: 1 job"
    assert lines[-2].startswith("1 at once (one job), 2 threads; 0.9 GB of memory, ")


@pytest.mark.parametrize(("n", "shown"), [(12, 12), (40, 40), (41, 35), (500, 35)])
def test_a_long_plan_leaves_out_its_middle(n: int, shown: int) -> None:
    lines = printed(make_plan(n, GRID), [])
    numbers = [line.split()[0] for line in lines if line.split()[0].isdigit() and " at once" not in line]
    assert len(numbers) == shown
    assert (numbers[0], numbers[-1]) == ("0", str(n - 1))
    assert [line.split() for line in lines if line.lstrip().startswith("...")] == (
        [["...", str(n - shown), "more"]] if n > shown else []
    )


def test_many_keys_fall_back_to_names_that_are_whole() -> None:
    keys: dict[str, list[object]] = {
        **GRID, "architecture": ["conv_small"], "architecture.filters": [[16, 32, 64]], "optimizer.lr": [1e-5],
        "scheduler.lr": [2.5e-6], "dataset.binarization": ["dynamic"],
    }  # fmt: skip
    plan = make_plan(2, keys)
    narrow, wide = (printed(plan, [make_cost(1.0)] * 2, width=width) for width in (80, 150))
    assert narrow[1].split() == ["#", "job", "parameters", "memory", "time"]
    words = " ".join(narrow).split()
    assert all(word in words for word in plan.jobs[0].name.split())
    assert wide[1].split()[:8] == ["#", "latent_dim", "kl_weight", "architecture", "filters", *wide[1].split()[5:8]]
    assert wide[2].split()[:7] == ["0", "2", "0.5", "conv_small", "[16,32,64]", "0.00001", "0.0000025"]


def test_a_search_is_told_by_samples_of_its_space() -> None:
    search = {"settings": {"n_trials": 10}}
    assert printed(make_plan(0, GRID, search=search), [], None) == ["latent_sweep: 10 trials"]
    samples: list[Cost | None] = [make_cost(20.0), replace(make_cost(40.0), parameters=28_273)]
    lines = printed(make_plan(0, GRID, search=search), samples)
    assert lines[1] == "a trial: 28 k to 551 k parameters, 0.9 GB, 20 s to 40 s"
    assert lines[2].startswith("2 at once (2 cores), 1 thread each; 1.7 GB of memory, ")
    assert lines[3] == "about 2 min 30 s in all"


def test_the_time_of_jobs_side_by_side() -> None:
    assert makespan([3, 3, 3], 2) == 6
    assert makespan([3, 3, 3], 5) == 3
    assert makespan([1, 1, 4], 2, under_way=[5]) == 6
    assert makespan([], 2, under_way=[1.5, 0.5]) == 1.5


def rows(n: int) -> list[dict[str, float]]:
    return [
        {"train/loss": 190.0 - k, "val/elbo": -180.0 + k, "best/val_elbo": -180.0 + k, "best/epoch": k + 1.0}
        for k in range(n)
    ]


def progress(epoch: int, batch: int = 0, left: float | None = 65.0) -> Progress:
    return Progress(epoch, 3, batch, 4, 151.234 if batch else None, left, rows(epoch))


def screen(board: Board, height: int, width: int = 80) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, height=height).print(board.table())
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < height
    return [line.rstrip() for line in lines]


def make_board(total: int | None, height: int = 24, width: int = 80) -> Board:
    return Board(total, console=Console(file=io.StringIO(), width=width, height=height))


def test_plain_lines_without_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second, third = make_plan(3, GRID).jobs
    with Board(3, every_seconds=0, console=Console(file=io.StringIO())) as board:
        board.started(first)
        board.started(second)
        board.update(first, progress(1, 2))
        board.refresh()
        board.ended(first, Outcome("FINISHED", "", rows(3)), 130.0)
        board.ended(second, Outcome("FAILED", "loss nan at step 12"), 4.0)
        board.started(third)
        board.ended(third, Outcome("STOPPED", "", rows(1)), 70.0)
        board.refresh()
    messages = [record.getMessage() for record in caplog.records]
    assert messages[:2] == ["job 0 started: latent_dim=2 kl_weight=0.5", "job 1 started: latent_dim=4 kl_weight=1"]
    assert messages[2].startswith("0 of 3 finished, 2 running, 1 waiting; about 2 min 10 s left, until ")
    assert messages[3:] == [
        "job 0 finished after 2 min 10 s: best val/elbo -178.00 at epoch 3  (latent_dim=2 kl_weight=0.5)",
        "job 1 failed after 4.0 s: loss nan at step 12  (latent_dim=4 kl_weight=1)",
        "job 2 started: latent_dim=8 kl_weight=4.0",
        "job 2 stopped after 1 min 10 s: best val/elbo -180.00 at epoch 1  (latent_dim=8 kl_weight=4.0)",
        "1 of 3 finished, 1 failed, 1 stopped",
    ]


def test_between_summaries_it_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Board(3, every_seconds=1000, console=Console(file=io.StringIO())) as board:
        for _ in range(10):
            board.refresh()
    assert not caplog.records


def test_the_table_shows_each_job(caplog: pytest.LogCaptureFixture) -> None:
    jobs = make_plan(5, GRID).jobs
    board = make_board(5)
    with board:
        for job in jobs[:4]:
            board.started(job)
        board.ended(jobs[0], Outcome("FINISHED", "", rows(3)), 130.0)
        board.ended(jobs[3], Outcome("FAILED", "out of memory"), 4.0)
        board.update(jobs[1], progress(1, 2))
        lines = screen(board, 24)
    assert lines[:5] == [
        "#  job                             epoch    loss  best elbo  time",
        "1  latent_dim=4 kl_weight=1     1/3 +50%  151.23    -180.00  1 min 05 s left",
        "2  latent_dim=8 kl_weight=4.0          -       -          -  starting",
        "3  latent_dim=16 kl_weight=0.5         -       -          -  failed, 4.0 s",
        "0  latent_dim=2 kl_weight=0.5          3  188.00    -178.00  done, 2 min 10 s",
    ]
    assert lines[5].startswith("1 of 5 finished, 1 failed, 2 running, 1 waiting; about ")


def test_the_time_left_is_what_finished_jobs_took_or_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small jobs train in a moment and draw for much longer."""
    clock = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    first, second = make_plan(2, GRID).jobs
    board = make_board(2)
    board.started(first)
    clock += 3
    board.update(first, progress(3, left=0.0))
    clock += 13
    board.ended(first, Outcome("FINISHED"), 16.0)
    board.started(second)
    assert "; about 16 s left" in board.summary()  # it has not told anything
    board.update(second, progress(3, left=0.0))
    assert "; about 13 s left" in board.summary()  # trained at once, and now as the first
    clock += 20
    assert board.summary() == "1 of 2 finished, 1 running"  # longer than expected: nobody knows


def test_long_names_give_way_to_figures() -> None:
    (job,) = make_plan(1, {f"architecture.key_{i}": [i] for i in range(12)}).jobs
    board = make_board(1)
    with board:
        board.started(job)
        board.update(job, progress(2, 1))
        (line,) = [line for line in screen(board, 24) if line.startswith("0  ")]
    assert line.endswith("  2/3 +25%  151.23    -179.00  1 min 05 s left")


@pytest.mark.parametrize("height", [10, 24, 60])
def test_never_more_than_a_screenful(height: int) -> None:
    jobs = make_plan(300, GRID).jobs
    board = make_board(300, height)
    with board:
        for job in jobs[:200]:
            board.started(job)
            if job.number >= 40:
                board.ended(job, Outcome("FINISHED", "", rows(2)), 60.0)
        lines = screen(board, height)
    running = [line for line in lines if line.endswith("starting")]
    assert len(running) == min(40, height - 5)
    assert any(line == f"... and {40 - (height - 5)} more running" for line in lines) == (height - 5 < 40)
    done = [line.split()[0] for line in lines if "done, " in line]
    assert done == [str(199 - i) for i in range(max(height - 45, 0))]  # the last that ended, newest first


def test_a_search_tells_no_end() -> None:
    (job,) = make_plan(1, GRID).jobs
    board = make_board(None)
    with board:
        board.started(job)
        board.update(job, progress(1))
        assert board.summary() == "0 finished, 1 running"


def test_a_run_that_exploded_is_shown_without_powers_of_ten() -> None:
    (job,) = make_plan(1, GRID).jobs
    board = make_board(1)
    history = [{"train/loss": 3.2e19, "best/val_elbo": -4.25e7}]
    with board:
        board.started(job)
        board.update(job, Progress(1, 3, 0, 4, None, None, history))
        (line,) = [line for line in screen(board, 24) if line.startswith("0  ")]
    assert line.split()[-4:] == ["huge", "-42", "M", "running"]


ON_A_TERMINAL = """
import logging
from vae_experiments.console import ConsoleHandler
from vae_experiments.sweeps.board import Board
from vae_experiments.runs.plan import Job
from vae_experiments.sweeps.source import Outcome
logging.getLogger().addHandler(ConsoleHandler())
logging.getLogger().addHandler(logging.FileHandler("run.log"))
logging.getLogger().setLevel(logging.INFO)
jobs = [Job(i, f"latent_dim={i}", {}, "") for i in range(2)]
with Board(2) as board:
    board.started(jobs[0])
    board.started(jobs[1])
    logging.getLogger("another").info("a line from elsewhere")
    board.refresh()
    board.ended(jobs[1], Outcome("FAILED", "out of memory"), 3.0)
    board.ended(jobs[0], Outcome("FINISHED"), 4.0)
logging.getLogger("another").info("after it")
"""


def test_on_a_terminal_the_log_stays_above_the_table() -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    child = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux's way of saying that the other side is closed
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)
    assert child.wait(60) == 0
    text = shown.decode()
    assert text.count("a line from elsewhere") == 1
    assert text.count("job 1 failed after 3.0 s: out of memory") == 1
    assert "job 0 started" not in text  # the table shows it
    assert text.index("a line from elsewhere") < text.index("job 1 failed") < text.rindex("done, 4.0 s")
    assert text.rindex("done, 4.0 s") < text.rindex("1 of 2 finished, 1 failed") < text.index("after it")
    assert Path("run.log").read_text().splitlines() == [
        "job 0 started: latent_dim=0",
        "job 1 started: latent_dim=1",
        "a line from elsewhere",
        "job 1 failed after 3.0 s: out of memory  (latent_dim=1)",
        "job 0 finished after 4.0 s  (latent_dim=0)",
        "after it",
    ]
