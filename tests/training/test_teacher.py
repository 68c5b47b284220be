"""A small network that shows a larger one where in the latent space images are to lie."""

from functools import partial
from pathlib import Path

import assembled
import pytest
import torch
from assembled import LeaveAfter, numbers, start

from vae_experiments.errors import InputError, Interrupted, RunFailed
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import Terms
from vae_experiments.training.checkpoints import LAST, digest, load_checkpoint
from vae_experiments.training.loop import fit, train_teacher
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.step import StepModule

# 200 images to train on in batches of 50: four steps in each of three epochs.
KEYS = ["teacher=small", "teacher.steps=30", "teacher.architecture.batch_size=100", "teacher.architecture.hidden=[32]"]
composed = partial(assembled.composed, *KEYS, "trainer.max_epochs=3")


def distance(run: TrainingRun) -> float:
    """The mean squared distance of the latents of the run's training images from its teacher's."""
    assert run.teacher is not None
    x = run.images(run.data.parts.train)
    with torch.no_grad():
        means = [vae.encode(x).mean for vae in (run.state.vae, run.teacher.run.state.vae)]
    return (means[0] - means[1]).square().sum(-1).mean().item()


def test_a_network_learns_its_teachers_latents() -> None:
    taught = start(composed("teacher.until=1.0", "trainer.max_epochs=10"))
    fit(taught)
    alone = start(composed("trainer.max_epochs=10", "teacher.pull=1e-9"))
    fit(alone)
    assert distance(taught) < 0.3 * distance(alone)


@pytest.mark.parametrize("objective", ["elbo", "seed", "iwae", "free_bits"])
def test_the_pull_is_that_of_the_squared_distance_and_is_not_in_the_loss(objective: str) -> None:
    run = start(composed(f"objective={objective}", "teacher.pull=2", "teacher.until=0.5"))
    assert run.teacher is not None
    run.state.step = 3  # of twelve: half of the way to zero
    x, vae = run.images(run.data.parts.train[:20]), run.state.vae
    noise = run.objective.noise(vae, 20, torch.Generator().manual_seed(0))
    terms, penalty = StepModule(vae, run.objective, run.teacher)(x, noise, run.progress)
    assert torch.equal(terms.loss, run.objective(vae, x, noise, run.progress).loss)
    apart = (vae.encode(x).mean - run.teacher.run.state.vae.encode(x).mean).square().sum(-1)
    nat = 1 / 784 if objective == "seed" else 1.0
    torch.testing.assert_close(penalty, apart * (1.0 * nat))
    run.state.step = 6
    assert StepModule(vae, run.objective, run.teacher)(x, noise, run.progress)[1] is None


def test_the_teacher_is_trained_as_a_run_of_its_own_would_be() -> None:
    run = start(composed("teacher.steps=40"))
    assert run.teacher is not None
    before = held_out(run, run.teacher.run.state.vae).loss.mean()
    train_teacher(run, run.teacher.run)
    assert run.teacher.run.state.step == 40
    assert run.state.step == 0
    after = held_out(run, run.teacher.run.state.vae).loss.mean()
    assert after < 0.6 * before


def held_out(run: TrainingRun, vae: VAE) -> Terms:
    x = run.images(run.data.parts.val)
    with torch.no_grad():
        return run.objective(vae, x, run.objective.noise(vae, len(x), torch.Generator().manual_seed(0)), run.progress)


@pytest.mark.parametrize("step", [2, 10])  # while it pulls, and after
def test_resumed_is_undisturbed_to_the_bit(step: int) -> None:
    whole = start(composed())
    fit(whole)
    with pytest.raises(Interrupted):
        fit(start(composed(), LeaveAfter(step=step, folder=Path())))
    resumed = start(composed())
    resumed.state.load_state_dict(load_checkpoint(Path(LAST))["state"])
    fit(resumed)
    assert digest(resumed.state.vae.state_dict()) == digest(whole.state.vae.state_dict())
    assert numbers(resumed) == numbers(whole)
    assert resumed.teacher is not None
    assert resumed.teacher.run.state.step == (30 if step == 2 else 0)  # not trained where it has nothing to say


def test_a_signal_while_the_teacher_learns_leaves_a_run_at_its_beginning() -> None:
    run = start(composed(), LeaveAfter(step=1, folder=Path()))
    run.signum = 15
    with pytest.raises(Interrupted):
        fit(run)
    assert load_checkpoint(Path(LAST))["state"]["step"] == 0
    assert run.teacher is not None
    assert run.teacher.run.state.step == 2  # an epoch of its own


def test_a_teacher_that_fails_says_that_it_is_the_teacher() -> None:
    with pytest.raises(RunFailed, match=r"^teacher: loss .*; lower teacher.optimizer.lr, or .* \(teacher=none\)$"):
        fit(start(composed("teacher.optimizer.lr=1e30", "trainer.precision=float32")))


def test_a_teacher_with_other_latents_is_refused() -> None:
    with pytest.raises(InputError, match=r"teacher\.architecture\.latent_dim=3: the run's network has 2 latent"):
        start(composed("teacher.architecture.latent_dim=3"))


def test_a_teacher_whose_squares_do_not_fit_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^teacher: architecture\.square=3: images of 28x28 pixels"):
        start(composed("teacher.architecture.square=3"))
