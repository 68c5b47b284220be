"""vae train, end to end: what a run leaves in its folder and in MLflow."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from support import BARE, TINY, Vae, only_folder, results, run_process, weights

from vae_experiments.training.checkpoints import digest, load_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The working directory and the folder of a small run with everything on."""
    work = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        ended = run_process("train", *TINY, "seed=3", "name=first")
        assert ended.status == 0, ended.err
        return work, only_folder().absolute()


def mlflow_run(work: Path) -> tuple[MlflowClient, Run]:
    client = MlflowClient(f"sqlite:///{work}/mlflow.db")
    (run,) = client.search_runs(["1"])
    return client, run


def artifacts(client: MlflowClient, run: Run, folder: str = "") -> list[str]:
    return [item.path for item in client.list_artifacts(run.info.run_id, folder or None)]


def test_the_folder_holds_config_checkpoints_and_pictures(trained: tuple[Path, Path]) -> None:
    _, folder = trained
    assert {"config.yaml", "run.json", "run.log", "checkpoints", "figures"} <= {p.name for p in folder.iterdir()}
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["seed"], config["architecture"]["filters"]) == (3, [4, 4, 4, 4])
    assert "vae_experiments" in (folder / "run.log").read_text()
    pictures = {p.name for p in (folder / "figures").glob("*.png")}
    assert pictures == {
        "class_images.png", "dataset_samples.png", "interpolations.png", "latent_scatter.png", "loss_curves.png",
        "manifold.png", "prior_samples.png", "reconstructions.png", "traversals.png",
    }  # fmt: skip


def test_the_mlflow_run_tells_the_whole_story(trained: tuple[Path, Path]) -> None:
    client, run = mlflow_run(trained[0])
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["architecture.latent_dim"] == "2"
    assert run.data.params["objective.kl_weight"] == "1.0"
    assert run.data.tags["likelihood"] == "bernoulli"
    assert "not a log-likelihood" in run.data.tags["bound"]
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "mnist5k"
    for name in ("loss", "reconstruction", "kl", "elbo"):
        for part in ("train", "val"):
            history = client.get_metric_history(run.info.run_id, f"{part}/{name}")
            assert [metric.step for metric in history] == [1, 2]
    assert {
        "best/val_elbo",
        "best/epoch",
        "time/epoch_seconds",
        "time/images_per_second",
        "optimizer/lr",
    } <= set(run.data.metrics)
    assert {"config.yaml", "checkpoints", "figures", "environment"} <= set(artifacts(client, run))
    assert set(artifacts(client, run, "checkpoints")) == {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert "figures/manifold.png" in artifacts(client, run, "figures")
    assert {model.name for model in client.search_logged_models(["1"])} == {"encoder", "decoder"}


def test_its_page_is_current_while_it_trains(vae: Vae) -> None:
    Path("watch.py").write_text(
        "from pathlib import Path\n"
        "from mlflow import MlflowClient\n"
        "from vae_experiments.training.run import Hook\n\n\n"
        "class Reader(Hook):\n"
        "    def on_step(self, run):\n"
        # By its whole path: MLflow keeps the store that an address had in another test's folder.
        "        (seen,) = MlflowClient(f'sqlite:///{Path.cwd()}/mlflow.db').search_runs(['1'])\n"
        "        Path(f'{run.state.epoch}.md').write_text(seen.data.tags['mlflow.note.content'])\n"
    )
    watched = "+hooks.reader={_target_:watch.Reader}"
    assert vae("train", *TINY, "hooks.gallery=null", watched, "hydra.run.dir=out").status == 0
    before, during = Path("0.md").read_text(), Path("1.md").read_text()
    assert "**Running**, 2 epochs." in before
    assert "differs" not in before
    assert "1 of 2 epochs done" in during
    assert f"{results(Path('out'))[0]['val/elbo']:.2f}" in during
    assert "What differs from the default:" in during


def test_the_bound_is_minus_the_sum_of_its_parts(trained: tuple[Path, Path]) -> None:
    for row in results(trained[1]):
        assert row["val/elbo"] == pytest.approx(-row["val/reconstruction"] - row["val/kl"])
    assert results(trained[1])[-1]["best/val_elbo"] == max(row["val/elbo"] for row in results(trained[1]))


def test_the_same_seed_gives_the_same_bits_and_another_does_not(trained: tuple[Path, Path], vae: Vae) -> None:
    for name, seed in (("again", 3), ("other", 4)):
        assert vae("train", *BARE, f"seed={seed}", f"hydra.run.dir={name}").status == 0
    assert digest(weights(Path("again"))) == digest(weights(trained[1]))
    assert digest(weights(Path("other"))) != digest(weights(trained[1]))


def test_no_figure_depends_on_the_size_of_validation_batches(vae: Vae) -> None:
    for size in (7, 100):
        ended = vae(
            "train",
            *BARE,
            "dataset.binarization=dynamic",
            f"trainer.eval_batch_size={size}",
            f"hydra.run.dir=b{size}",
        )
        assert ended.status == 0, ended.err
    for small, large in zip(results(Path("b7")), results(Path("b100")), strict=True):
        assert small == pytest.approx(large, rel=1e-5)


def test_a_short_last_batch_counts_by_its_images(vae: Vae) -> None:
    # 200 images in batches of 150: with the learning rate at zero, the epoch's mean must be the mean over images.
    keys = [
        "architecture.batch_size=150",
        "optimizer=sgd",
        "optimizer.lr=0",
        "scheduler=constant",
    ]
    assert vae("train", *BARE, *keys, "hydra.run.dir=short").status == 0
    assert vae("train", *BARE, *keys, "architecture.batch_size=200", "hydra.run.dir=whole").status == 0
    short, whole = results(Path("short"))[0], results(Path("whole"))[0]
    # The noise is drawn by batch, so the draws differ a little between the two; the closed-form KL does not.
    assert short["train/kl"] == pytest.approx(whole["train/kl"], rel=1e-5)
    assert short["train/loss"] == pytest.approx(whole["train/loss"], rel=1e-2)


@pytest.mark.parametrize("name", ["none", "threshold", "static", "dynamic"])
def test_every_binarization_trains(vae: Vae, name: str) -> None:
    assert vae("train", *BARE, f"dataset.binarization={name}", "trainer.max_epochs=1").status == 0


@pytest.mark.parametrize(
    "keys",
    [
        ["architecture=mlp"],
        ["objective=seed", "optimizer=rmsprop", "scheduler=constant"],
        ["optimizer=sgd", "optimizer._target_=torch.optim.Adagrad", "optimizer.lr=0.01", "scheduler=cosine"],
        ["optimizer=sgd", "scheduler=plateau", "trainer.clip_grad_norm=10"],
        ["optimizer=adamw", "optimizer.weight_decay=0.1", "trainer.precision=bfloat16"],
        [
            "scheduler=cosine",
            "scheduler._target_=torch.optim.lr_scheduler.StepLR",
            "~scheduler.T_max",
            "+scheduler.step_size=2",
        ],
        ["architecture.latent_dim=5", "+schedule@objective.kl_weight=linear_warmup"],
    ],
)
def test_choices_combine(vae: Vae, keys: list[str]) -> None:
    # An mlp has no filters to set.
    base = [key for key in BARE if not (key.startswith("architecture.filters") and "architecture=mlp" in keys)]
    ended = vae("train", *base, *keys, "hydra.run.dir=out")
    assert ended.status == 0, ended.err
    assert all(torch.isfinite(w).all() for w in weights(Path("out")).values())


def test_early_stopping_and_its_resume(vae: Vae) -> None:
    keys = ["optimizer.lr=1e-9", "scheduler=constant", "trainer.max_epochs=50"]
    keys += ["hooks.early_stopping.patience=2", "trainer.monitor=val/kl"]
    assert vae("train", *BARE, *keys, "hydra.run.dir=out").status == 0
    epochs = len(results(Path("out")))
    assert epochs < 50
    info = Path("out/run.json")
    info.write_text(info.read_text().replace("FINISHED", "KILLED"))  # as if it had been, right at its end
    assert vae("resume", "out").status == 0
    assert len(results(Path("out"))) == epochs


def test_best_can_be_by_the_importance_weighted_bound(vae: Vae) -> None:
    keys = ["objective=iwae", "trainer.monitor=val/iw_bound", "trainer.max_epochs=3", "hydra.run.dir=out"]
    assert vae("train", *BARE, *keys).status == 0
    bounds = [row["val/iw_bound"] for row in results(Path("out"))]
    assert load_checkpoint(Path("out/checkpoints/best.ckpt"))["state"]["epoch"] == 1 + bounds.index(max(bounds)) > 1


def test_a_loss_that_is_not_finite_stops_before_the_update(vae: Vae) -> None:
    ended = vae("train", *BARE, "optimizer=sgd", "optimizer.lr=1e12", "scheduler=constant", "hydra.run.dir=out")
    assert ended.status == 1
    report = json.loads(Path("out/not_finite/report.json").read_text())
    assert report["step"] > 0
    assert report["first_not_finite"]
    assert json.loads(Path("out/run.json").read_text())["status"] == "FAILED"
    saved = load_checkpoint(Path("out/not_finite/last.ckpt"))["state"]["vae"]
    assert all(torch.isfinite(w).all() for w in saved.values())


def test_two_processes_give_the_losses_of_one(vae: Vae) -> None:
    keys = [
        *TINY,
        "hooks.gallery=null",
        "hooks.models=null",
        "architecture.batch_size=49",
        "dataset.binarization=dynamic",
        "trainer.precision=float32",  # in bfloat16 the order of a sum shows in the fourth digit
    ]
    assert vae("train", *keys, "hydra.run.dir=one").status == 0
    two = run_process("train", *keys, torchrun=2)
    assert two.status == 0, two.err
    for one, both in zip(results(Path("one")), results(only_folder()), strict=True):
        assert both == pytest.approx(one, rel=1e-4)
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    assert [run.info.status for run in client.search_runs(["1"])] == ["FINISHED", "FINISHED"]


def test_an_own_class_from_the_working_directory(vae: Vae) -> None:
    Path("mine.py").write_text(
        "from vae_experiments.models.priors import StandardNormal\n\n\nclass Wide(StandardNormal):\n    pass\n"
    )
    assert vae("train", *BARE, "prior._target_=mine.Wide", "hydra.run.dir=out").status == 0


def test_a_run_of_so_many_steps_ends_there(vae: Vae) -> None:
    assert vae("train", *BARE, "trainer.max_epochs=9", "trainer.max_steps=6", "hydra.run.dir=out").status == 0
    assert load_checkpoint(Path("out/checkpoints/last.ckpt"))["state"]["step"] == 6
    assert len(results(Path("out"))) == 2  # of four steps, and of two
    assert vae("train", *BARE, "trainer.max_epochs=1", "trainer.max_steps=6", "hydra.run.dir=sooner").status == 0
    assert len(results(Path("sooner"))) == 1


SPEEDRUN = [
    "experiment=speedrun",
    "dataset=mnist5k",
    "dataset/split=fractions",
    "dataset.split.train=0.04",
    "dataset.split.val=0.02",
    "dataset.split.test=0.94",
    "architecture.batch_size=50",
    "architecture.deepen_at=5",
    "hooks.gallery=null",
]


def test_the_speedrun_says_when_it_reached_its_target(vae: Vae) -> None:
    ended = vae("train", *SPEEDRUN, "trainer.max_steps=8", "hooks.target.value=1.0", "hydra.run.dir=out")
    assert ended.status == 0, ended.err
    assert "s after the first step" in ended.err + ended.out
    (run,) = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db").search_runs(["1"])
    assert 0 < run.data.metrics["time/to_target_seconds"] < 300
    missed = vae("train", *SPEEDRUN, "tracking=off", "trainer.max_steps=4", "hydra.run.dir=missed")
    assert "never was 0.1833" in missed.err + missed.out


def test_two_processes_deepen_as_one_does(vae: Vae) -> None:
    keys = [*SPEEDRUN, "tracking=off", "trainer.max_steps=8", "trainer.precision=float32", "optimizer=adam"]
    keys = [*keys, "optimizer.lr=1e-3", "~optimizer.momentum", "~optimizer.matrix_lr"]
    assert vae("train", *keys, "hydra.run.dir=one").status == 0
    two = run_process("train", *keys, torchrun=2)
    assert two.status == 0, two.err
    for one, both in zip(results(Path("one")), results(only_folder()), strict=True):
        assert both["val/loss"] == pytest.approx(one["val/loss"], rel=1e-3)


def test_the_manifold_of_a_few_epochs_and_of_the_last_is_an_image_and_the_film_has_all(vae: Vae) -> None:
    ended = vae("train", *TINY, "hooks.gallery=null", "hooks.models=null", "trainer.max_epochs=6", "hydra.run.dir=out")
    assert ended.status == 0
    steps = sorted(int(path.name.split("+step+")[1].partition("+")[0]) for path in Path("out/images").glob("*.png"))
    assert steps == [1, 2, 4, 6]
    assert len(list(Path("out/film").iterdir())) == 6
