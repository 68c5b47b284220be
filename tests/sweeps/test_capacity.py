"""How many jobs at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vae_experiments.sweeps.capacity import available_memory, cores, cpu_quotas, jobs_at_once, memory_left

GB = 10**9


def files(root: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_quotas_of_version_2_all_the_way_up(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "membership"
    files(tmp_path, {"membership": "0::/user.slice/job"})
    files(root / "user.slice", {"cpu.max": "150000 100000", "memory.max": "max", "memory.current": "7"})
    files(root / "user.slice/job", {"cpu.max": "max 100000", "memory.max": "5000", "memory.current": "4000"})
    files(root / "user.slice/job", {"memory.stat": "anon 3300\ninactive_file 700\nactive_file 90"})
    assert cpu_quotas(root, membership) == [1.5]
    assert memory_left(root, membership) == [1700]


def test_quotas_of_version_1(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "membership"
    files(tmp_path, {"membership": "4:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/\n0::/"})
    files(root / "cpu/box", {"cpu.cfs_quota_us": "400000", "cpu.cfs_period_us": "100000"})
    files(root / "cpu", {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"})
    files(root / "memory/box", {"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "500"})
    files(root / "memory/box", {"memory.stat": "cache 5\ninactive_file 1\ntotal_inactive_file 50"})
    assert cpu_quotas(root, membership) == [4.0]
    assert memory_left(root, membership) == [450]


def test_in_a_container_the_root_is_its_own(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "membership"
    files(tmp_path, {"membership": "0::/not/seen/from/here"})
    files(root, {"cpu.max": "50000 100000", "memory.max": "1000", "memory.current": "100"})
    assert cpu_quotas(root, membership) == [0.5]
    assert memory_left(root, membership) == [900]


def test_without_cgroups_nothing_is_taken_away(tmp_path: Path) -> None:
    assert cpu_quotas(tmp_path, tmp_path / "nothing") == []
    assert memory_left(tmp_path, tmp_path / "nothing") == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_affinity_counts() -> None:
    code = "import os, vae_experiments.sweeps.capacity as c; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    code += "print(c.cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_as_many_as_there_are_cores() -> None:
    here = cores()
    found = jobs_at_once(None, 1000, None, "cpu")
    assert (found.jobs, found.threads, found.gpus) == (here, 1, 0)
    assert found.why == f"{here} core" + "s" * (here > 1)


def test_one_job_has_all_cores() -> None:
    found = jobs_at_once(None, 1, None, "cpu")
    assert (found.jobs, found.threads, found.why) == (1, cores(), "one job")


def test_threads_that_the_config_fixes_are_kept() -> None:
    found = jobs_at_once(None, 1000, None, "cpu", threads=cores())
    assert (found.jobs, found.threads) == (1, cores())


def test_memory_limits() -> None:
    found = jobs_at_once(None, 1000, available_memory() // 10 * 7, "cpu")
    assert (found.jobs, found.threads, found.warning) == (1, cores(), "")
    assert found.why.startswith("memory: ")
    assert found.why.endswith("GB a job")
    found = jobs_at_once(None, 1000, 10**15, "cpu")
    assert found.jobs == 1
    assert found.warning.startswith("a job needs about 1,000,000 GB of memory, ")


def test_more_than_cores_is_allowed_with_a_warning() -> None:
    many = cores() + 3
    found = jobs_at_once(many, 1000, None, "cpu")
    assert (found.jobs, found.threads, found.why) == (many, 1, "as asked")
    why = jobs_at_once(None, 1000, None, "cpu").why
    assert found.warning == f"{many} jobs at once are more than this machine bears ({why})"
    assert jobs_at_once(1, 1000, None, "cpu").warning == ""
    assert jobs_at_once(many, 1, None, "cpu").warning == ""


def test_never_more_than_there_are_jobs() -> None:
    assert jobs_at_once(8, 1, None, "cpu").jobs == 1


def test_one_apple_gpu_takes_one_job() -> None:
    assert jobs_at_once(None, 5, None, "mps").jobs == 1
