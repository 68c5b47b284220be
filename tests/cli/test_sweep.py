"""vae train -m: every combination, each in a folder of its own; one job's failure does not stop the others."""

from pathlib import Path

from support import BARE, Vae, status_of


def test_a_failing_job_is_named_and_the_others_run(vae: Vae) -> None:
    ended = vae("train", "-m", *BARE, "architecture.kernel_size=2,3,4", "trainer.max_epochs=1", "hydra.sweep.dir=sweep")
    assert ended.status == 1
    for job in (0, 2):
        assert f"job {job}: architecture.kernel_size" in ended.err
    assert "2 of 3 jobs failed" in ended.err
    assert status_of(Path("sweep/1")) == "FINISHED"


def test_flags_may_stand_after_overrides(vae: Vae) -> None:
    ended = vae("train", *BARE, "trainer.max_epochs=1", "hydra.sweep.dir=sweep", "seed=0,1", "-m")
    assert ended.status == 0, ended.err
    assert [status_of(Path(f"sweep/{job}")) for job in (0, 1)] == ["FINISHED", "FINISHED"]
