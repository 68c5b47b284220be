"""vae evaluate and vae extractor: what a trained model is worth, into the run that it is of."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from support import TINY, Ended, Vae, only_folder, run_process, status_of

# 250 test images and everything but the samples, whose extractor takes half a minute.
SPLIT = ["dataset.split.train=0.04", "dataset.split.val=0.91", "dataset.split.test=0.05"]
QUICK = [
    "evaluation.what=[bound,likelihood,aggregate,latents]",
    "evaluation.iw_samples=10",
    "evaluation.labelled=[20]",
    "evaluation.label_draws=2",
]
LEAN = ["hooks.gallery=null", "hooks.models=null", "hooks.diagnosis=null", "trainer.max_epochs=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of one small run on grey digits."""
    work = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        ended = run_process("train", *TINY, *SPLIT, *LEAN, "name=digits")
    assert ended.status == 0, ended.err
    return work


@pytest.fixture
def at(trained: Path) -> Path:
    """The run's folder, in a working directory that holds it and its store alone."""
    shutil.copytree(trained, Path.cwd(), dirs_exist_ok=True)
    return only_folder()


def recorded(work: Path | None = None) -> Run:
    (run,) = MlflowClient(f"sqlite:///{work or Path.cwd()}/mlflow.db").search_runs(["1"])
    return run


def printed(ended: Ended) -> dict[str, float]:
    assert ended.status == 0, ended.err
    return {name: float(value) for name, value in (line.split() for line in ended.out.splitlines())}


def refusal(ended: Ended) -> str:
    assert ended.status == 2, ended.err
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("vae: ")]
    return line


def test_the_figures_go_into_the_same_run_and_a_second_time_one_step_on(vae: Vae, trained: Path) -> None:
    (at,) = (trained / "outputs").iterdir()
    before = recorded(trained)
    first = printed(vae("evaluate", str(at), *QUICK))
    after = recorded(trained)
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    assert after.info.end_time == before.info.end_time
    names = {"test/elbo", "test/nll_iw10", "test/mutual_information", "test/knn_accuracy_20", "test/active_units"}
    assert names <= first.keys()
    for name, value in first.items():
        assert after.data.metrics[name] == pytest.approx(value, abs=1e-4), name
    for name in before.data.metrics:
        assert after.data.metrics[name] == before.data.metrics[name]
    tags = after.data.tags
    assert tags["evaluation.images"] == "250"
    assert tags["evaluation.split"] == "200 train, 4550 val, 250 test"
    assert tags["evaluation.likelihood"] == "bernoulli"
    assert "a loss, not a log-likelihood" in tags["evaluation.bound"]  # grey digits: nll_iw10 is none to be quoted

    second = printed(vae("evaluate", str(at), *QUICK, "evaluation.seed=1"))
    assert second["test/elbo"] != first["test/elbo"]
    assert second["test/kl"] == first["test/kl"]
    history = MlflowClient(f"sqlite:///{trained}/mlflow.db").get_metric_history(after.info.run_id, "test/elbo")
    assert [(each.step, round(each.value, 4)) for each in history] == [
        (0, pytest.approx(first["test/elbo"])),
        (1, pytest.approx(second["test/elbo"])),
    ]
    assert recorded(trained).data.tags["evaluation.seed"] == "1"


def test_it_is_written_beside_the_run_and_among_its_artifacts(vae: Vae, trained: Path, tmp_path: Path) -> None:
    (at,) = (trained / "outputs").iterdir()
    figures = printed(vae("evaluate", str(at), *QUICK, "evaluation.what=[bound]"))
    content = json.loads((at / "evaluation" / "test.json").read_text())
    assert content["metrics"]["test/elbo"] == pytest.approx(figures["test/elbo"], abs=1e-4)
    assert len(content["per_dimension"]["kl"]) == 2
    client = MlflowClient(f"sqlite:///{trained}/mlflow.db")
    copy = client.download_artifacts(recorded(trained).info.run_id, "evaluation/test.json", str(tmp_path))
    assert json.loads(Path(copy).read_text()) == content


def test_without_tracking_the_store_stays_as_it_is(vae: Vae, trained: Path) -> None:
    (at,) = (trained / "outputs").iterdir()
    before = recorded(trained).data
    figures = printed(vae("evaluate", str(at), *QUICK, "evaluation.part=val", "tracking=off"))
    assert all(name.startswith("val/") for name in figures)
    assert (at / "evaluation" / "val.json").exists()
    assert recorded(trained).data.metrics == before.metrics
    assert recorded(trained).data.tags == before.tags


def test_the_best_epochs_weights_are_measured(vae: Vae, at: Path) -> None:
    figures = printed(vae("evaluate", "digits", *QUICK, "evaluation.part=val", "evaluation.what=[bound]"))
    best = recorded().data.metrics["best/val_kl"]
    assert figures["val/kl"] == pytest.approx(best, rel=0.02)  # trained in bfloat16 perhaps, measured in float32
    assert figures["val/elbo"] == pytest.approx(recorded().data.metrics["best/val_elbo"], rel=0.02)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["evaluation.iw_sampels=5"], "evaluation.iw_sampels: no such key; did you mean 'iw_samples'"),
        (["evaluation.iw_samples=0"], "evaluation.iw_samples=0"),
        (["evaluation.what=[bond]"], "evaluation.what"),
        (["evaluation.what=[]"], "evaluation.what"),
        (["evaluation.part=train"], "evaluation.part"),
        (["evaluation.seed=-1"], "evaluation.seed"),
        (["run=nowhere"], "nowhere: no run folder"),
    ],
)
def test_a_mistake_is_one_line(vae: Vae, at: Path, keys: list[str], says: str) -> None:
    ref = [] if keys[0].startswith("run=") else [str(at)]
    assert says in refusal(vae("evaluate", *ref, *keys))


def test_a_run_that_kept_no_image_for_testing_is_told_what_to_measure(vae: Vae) -> None:
    keys = ["dataset.split.train=0.04", "dataset.split.val=0.96", "dataset.split.test=0"]
    ended = vae("train", *TINY, *LEAN, *keys, "tracking=off")
    assert ended.status == 0, ended.err
    line = refusal(vae("evaluate", str(only_folder()), *QUICK, "tracking=off"))
    assert "evaluation.part=test: " in line
    assert "evaluation.part=val" in line


@pytest.mark.parametrize("prior", ["mixture", "realnvp", "vamp"])
def test_after_training_says_so_and_every_prior_can_be_measured(vae: Vae, prior: str) -> None:
    keys = [*QUICK, "evaluation.after_training=true", f"prior={prior}", "dataset.binarization=threshold"]
    ended = vae("train", *TINY, *SPLIT, *LEAN, *keys)
    assert ended.status == 0, ended.err
    assert status_of(only_folder()) == "FINISHED"
    run = recorded()
    assert run.data.metrics["test/nll_iw10"] < -run.data.metrics["test/elbo"] + 1
    assert run.data.metrics["test/bits_per_dim"] == pytest.approx(-run.data.metrics["test/elbo"] / 784 / np.log(2))
    assert "evaluation.bound" not in run.data.tags
    content = json.loads((only_folder() / "evaluation" / "test.json").read_text())
    assert "kl" not in content["per_dimension"]  # of no such prior the rate is a sum over dimensions
    again = printed(vae("evaluate", str(only_folder()), *QUICK))
    assert again == {name: pytest.approx(value, abs=1e-4) for name, value in content["metrics"].items()}


def test_an_extractor_is_trained_once_and_judges_samples(vae: Vae, trained: Path) -> None:
    (at,) = (trained / "outputs").iterdir()
    keys = ["dataset=mnist5k", *SPLIT]
    first = vae("extractor", *keys, "epochs=2")
    assert first.status == 0, first.err
    digest = next(line.split("digest: ")[1] for line in first.err.splitlines() if "digest: " in line)
    again = vae("extractor", *keys, "epochs=3")
    assert digest in again.err
    assert "force=true" in again.err
    figures = printed(vae("evaluate", str(at), "evaluation.what=[samples]"))
    assert figures["test/frechet"] > 0
    assert 0 <= figures["test/coverage"] <= 1
    assert recorded(trained).data.tags["evaluation.extractor"] == digest
    assert recorded(trained).data.tags["evaluation.samples"] == "250, pixels expected"
    assert "epochs" in refusal(vae("extractor", *keys, "epochs=0"))
