"""What people hand to a model, in every form it takes; and what it says of the forms it does not."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vae_experiments.errors import InputError
from vae_experiments.models.shapes import ImageShape
from vae_experiments.use.arrays import as_given, as_tensor, channels_first, check_latents, check_pixels, like

GREY, COLOUR = (1, 4, 5), (3, 4, 5)


@pytest.mark.parametrize(
    ("shape", "given"),
    [(GREY, (2, 1, 4, 5)), (GREY, (2, 4, 5, 1)), (GREY, (2, 4, 5)), (COLOUR, (2, 3, 4, 5)), (COLOUR, (2, 4, 5, 3))],
)
def test_every_form_becomes_channels_first_and_goes_back(shape: ImageShape, given: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).random(given, np.float32)
    first = channels_first(as_tensor(images, "images"), shape).numpy()
    assert first.shape == (2, *shape)
    channels = {"last": np.moveaxis(first, 1, 3), "none": first[:, 0]}
    expected = first if given[1:] == shape else channels["none" if len(given) == 3 else "last"]
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(as_given(first, given), images)


def test_where_both_ways_round_fit_channels_come_first() -> None:
    images = torch.rand(2, 3, 3, 3)
    assert channels_first(images, (3, 3, 3)) is images


@pytest.mark.parametrize(
    ("shape", "given", "said"),
    [
        (GREY, (2, 5, 4), r"of shape \[2, 5, 4\]; this model takes \[N, 1, 4, 5\] or \[N, 4, 5, 1\] or \[N, 4, 5\]$"),
        (COLOUR, (2, 4, 5), r"takes \[N, 3, 4, 5\] or \[N, 4, 5, 3\]$"),
        (COLOUR, (3, 4, 5), r"of one image give images\[None\]$"),
        (GREY, (4, 5), r"of one image give images\[None\]$"),
    ],
)
def test_another_shape_is_refused(shape: ImageShape, given: tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        channels_first(torch.zeros(given), shape)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
def test_pixels_that_are_taken(dtype: type) -> None:
    check_pixels(as_tensor(np.array([0, 1], dtype), "images"))
    check_pixels(as_tensor(np.zeros((0, 4, 5), dtype), "images"))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.array([0, 255]), "of type int64; give uint8 from 0 to 255, or floats"),
        (np.array([True]), "of type bool"),
        (np.array([0.0, 255.0]), r"float64 from 0 to 255; floats must lie in \[0, 1\]"),
        (np.array([-1.0, 1.0]), "from -1 to 1"),
        (np.array([0.0, np.nan]), "from nan to nan"),
    ],
)
def test_pixels_that_are_not(images: NDArray[np.generic], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_pixels(as_tensor(images, "images"))


@pytest.mark.parametrize(
    ("latents", "said"),
    [
        (torch.zeros(4, 3), r"of shape \[4, 3\]; this model takes \[N, 2\]$"),
        (torch.zeros(2), r"of one latent give latents\[None\]$"),
        (torch.zeros(4, 2, dtype=torch.int64), "of type int64; give floats"),
        (torch.tensor([[0.0, torch.inf]]), "some are not finite"),
    ],
)
def test_latents_that_are_not_taken(latents: torch.Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_latents(latents, 2)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::2],
        lambda a: a.astype(">f4"),
        np.asfortranarray,
        lambda a: np.broadcast_to(a[0], (3, *a.shape[1:])),
    ],
)
def test_any_layout_of_an_array_will_do(view: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    given = view(np.random.default_rng(0).random((3, 4), np.float32))
    np.testing.assert_array_equal(as_tensor(given, "latents").numpy(), given)


@pytest.mark.parametrize("values", [[[0.0]], "images", None, np.array(["a"]), np.array([1j])])
def test_what_holds_no_numbers_is_refused(values: object) -> None:
    with pytest.raises(InputError, match="images: "):
        as_tensor(values, "images")


def test_the_kind_that_was_given_comes_back() -> None:
    values = np.zeros((2, 2), np.float32)
    assert like(values, np.zeros(1, np.uint8)) is values
    assert isinstance(like(values, torch.zeros(1)), torch.Tensor)
