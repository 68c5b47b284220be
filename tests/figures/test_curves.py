import numpy as np
import pytest

from vae_experiments.figures.curves import loss_curves
from vae_experiments.figures.style import render


def _panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}


def test_every_part_has_a_panel_with_its_unit(history):
    # Whatever the loss is in, its parts are recorded in nats.
    panels = _panels(loss_curves(history, unit="mean per pixel"))
    assert [axes.get_ylabel() for axes in panels.values()] == ["mean per pixel", *["nats per image"] * 3]
    assert {axes.get_xlabel() for axes in panels.values()} == {"epoch"}
    assert list(panels) == ["Loss", "Reconstruction", "KL divergence", "ELBO (higher is better)"]


def test_the_unit_is_nats_per_image_unless_told_otherwise(history):
    assert {axes.get_ylabel() for axes in _panels(loss_curves(history)).values()} == {"nats per image"}


def test_curves_hold_the_history(history):
    train, val = _panels(loss_curves(history))["KL divergence"].get_lines()
    np.testing.assert_array_equal(train.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(val.get_ydata(), [row["val/kl"] for row in history])
    assert train.get_linestyle() != val.get_linestyle()  # told apart in grey


def test_one_epoch_missing_values_and_what_is_not_finite_can_be_drawn(history):
    render(loss_curves(history[:1]))
    render(loss_curves([{"epoch": 1, "train/loss": np.nan}, {"epoch": 2, "val/loss": np.inf}]))
    panels = _panels(loss_curves([{"epoch": 1, "val/elbo": -2.0}, {"epoch": 2}]))
    assert list(panels) == ["ELBO (higher is better)"]
    np.testing.assert_array_equal(panels["ELBO (higher is better)"].get_lines()[1].get_ydata(), [-2, np.nan])


def test_an_exploding_first_epoch_does_not_flatten_the_rest():
    losses = [3.2e7, 0.2, 0.19, 0.185]
    history = [{"epoch": i + 1, "train/loss": loss, "val/loss": 0.2} for i, loss in enumerate(losses)]
    axes = loss_curves(history).axes[0]
    assert axes.get_ylim()[1] < 1
    assert any("3.2e+07" in text.get_text() for text in axes.texts)


def test_a_first_epoch_that_is_only_worse_stays_on_the_scale():
    history = [{"epoch": i + 1, "train/loss": loss} for i, loss in enumerate([250, 190, 180, 175])]
    assert loss_curves(history).axes[0].get_ylim()[1] > 250


@pytest.mark.parametrize("history", [[], [{"epoch": 1.0, "time/epoch_seconds": 3.0}]])
def test_a_history_without_losses_is_an_error(history):
    with pytest.raises(ValueError, match="no losses"):
        loss_curves(history)
