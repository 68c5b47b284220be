"""What the bench's sections make of their measurements."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from vae_experiments.models import layers

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def section(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_every_section_is_measured_and_written() -> None:
    for module in section("bench").SECTIONS.values():
        assert callable(module.measure)
        assert callable(module.markdown)


def test_a_section_measured_anew_leaves_the_others_on_the_page() -> None:
    bench = section("bench")
    before = bench.page({"start": "## Start\n\n1 s", "training": "## Training\n\n| a |"})
    assert before.index("## Training") < before.index("## Start")  # in the bench's own order
    assert bench.page(bench.parts_of(before)) == before
    after = bench.page(bench.parts_of(before) | {"start": "## Start\n\n2 s"})
    assert after == before.replace("1 s", "2 s")
    written = (BENCHMARKS.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert set(bench.parts_of(written)) <= set(bench.SECTIONS)
    assert bench.parts_of("") == {}


def test_a_jobs_overhead_is_what_its_core_did_besides_training() -> None:
    sweep_jobs = section("sweep_jobs")
    # Eight jobs have 15 s that are not training, one has 8: each of the seven others 1, and the sweep 7.
    sweep = sweep_jobs.Sweep
    measured = sweep_jobs.Measured(2, sweep(50, 80), 110, sweep(95, 60), single=sweep(100, 85), one=sweep(19, 11))
    assert measured.overhead == pytest.approx(1.0)
    assert measured.once == pytest.approx(7.0)
    shares = [line.split("|")[3].strip() for line in sweep_jobs.markdown(measured).splitlines() if "one after" in line]
    assert shares == ["2.20", "1.90", "2.00"]


def test_memory_that_grows_is_seen_beside_that_which_does_not() -> None:
    memory = section("memory")
    flat = [10**8] * 100 + [2 * 10**8] * 100  # what is taken in the first half is no growth
    assert memory.Measured(0, flat, None).growth == pytest.approx(0, abs=1)
    assert memory.Measured(0, [x + 4096 * i for i, x in enumerate(flat)], None).growth == pytest.approx(4096)


def test_bfloat16_is_judged_by_float32s_own_spread() -> None:
    precision = section("precision")
    assert ", within " in precision.markdown({"float32": [200.0, 202.0], "bfloat16": [201.0, 203.0]})
    assert "**OUTSIDE**" in precision.markdown({"float32": [200.0, 202.0], "bfloat16": [203.0, 205.0]})


def test_denormals_are_judged_by_the_last_epoch_of_each_round() -> None:
    denormals = section("denormals")
    text = denormals.markdown(
        denormals.Measured({False: [1000.0, 1100.0], True: [1000.0, 900.0]}, {False: [1200.0] * 2, True: [600.0] * 2})
    )
    assert "| `trainer.flush_denormals=false` | 950 | 600 |" in text
    assert "2.00 times as fast" in text


def test_the_speedrun_counts_the_seeds_that_reach_the_target() -> None:
    speedrun = section("speedrun")
    text = speedrun.markdown(speedrun.Measured([30.0, 40.0, 52.0], [0.1830, 0.1833, 0.1840]))
    assert "2 of 3 seeds reach it, in 35.0 s (30.0 to 40.0)" in text


def test_on_a_gpu_rates_are_held_against_the_loop_people_write() -> None:
    gpu = section("gpu")
    measured = gpu.Measured("GPU X", "2.0", seed_run=[[0.8, 0.4, 0.4, 2.0], [1.0, 0.4, 0.4, 2.2]])
    for contestant in gpu.CONTESTANTS:
        for size in gpu.BATCH_SIZES:
            rate = 10_000.0 if contestant.name == gpu.EAGER else 80_000.0
            measured.rates[contestant.name, size] = [rate, 2 * rate]
            measured.held_out[contestant.name, size] = [160.0, 162.0]
    measured.sweeps = {1: gpu.Sweep(100, 80), 4: gpu.Sweep(40, 120)}
    text = gpu.markdown(measured)
    assert "| this project | 120,000 (80,000 to 160,000), 8.0x |" in text
    assert "1.70 s of training, of which the first takes 0.90 s" in text
    assert "each other 0.40 s; 2.10 s from the first step" in text
    assert "4 at once 40 s, 2.50 times as fast" in text


def test_growth_is_told_from_linear() -> None:
    text = section("growth").markdown(section("growth").Measured({100: 1.0, 200: 2.0}, {10: 1.0, 20: 8.0}))
    assert "| 200 | 2.00 | 1.00 |" in text
    assert "| 20 | 8.00 | 2.00 |" in text


def test_what_an_ablation_flattens_in_another_order_are_the_same_values() -> None:
    x = torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last)
    there, back = nn.Sequential(layers.Flatten()), nn.Sequential(layers.Unflatten(6, 4, 4))
    before = there(x)
    for network in (there, back):
        section("ablated").flatten_as_pytorch(network)
    flat = there(x)
    assert not torch.equal(flat, before)
    assert torch.equal(flat.sort(1).values, before.sort(1).values)
    assert torch.equal(back(flat), x)


def test_every_key_of_an_ablation_is_a_key_and_named_in_its_table() -> None:
    for what, key in section("ablated").KEYS.items():
        section("decoding").default_config(*key.split())
        assert f"`{key}`" in section("ablation").WITHOUT[what]
