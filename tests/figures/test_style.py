import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from vae_experiments.figures.style import CLASSES, class_colours, render, save_png, shown, styled


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digit", "digit"),
        ("cost $x$ and $y_2$", "cost $x$ and $y_2$"),
        ("_hidden", "_hidden"),
        ("<script>alert(1)</script>", "<script>alert(1)</scr..."),
        ("two\nlines\tand\r\nmore", "two lines and more"),
        ("a" * 1000, "a" * 21 + "..."),
        ("\u202eright to left", "right to left"),
        ("\u4e2d a", "\N{REPLACEMENT CHARACTER} a"),  # not in the font that ships with matplotlib
        ("", ""),
    ],
)
def test_names_from_outside_become_one_short_line(name, expected):
    assert shown(name) == expected


@styled
def _picture_of(text: str) -> Figure:
    figure = Figure(figsize=(3, 0.6))
    figure.text(0.05, 0.4, text)
    return figure


def test_dollar_signs_are_shown_and_not_typeset():
    # Invalid as a formula: typesetting it would raise. And a valid one is as wide as its characters.
    render(_picture_of(r"$\notacommand{$"))
    typeset, plain = render(_picture_of("$x^2$")), render(_picture_of("x2"))
    assert typeset.shape[1] > plain.shape[1] + 20


def test_colours_are_given_for_any_number_of_classes():
    for palette in ("default", "seed"):
        for count in (1, 2, 10, 11, 1000):
            colours = class_colours(palette, count)
            assert colours.shape == (count, 4)
            if count <= 100:
                assert len(np.unique(colours, axis=0)) == count
    np.testing.assert_allclose(class_colours("seed", 10), matplotlib.colormaps["brg"](np.linspace(0, 1, 10)))


# Severe protan, deutan and tritan sight on linear RGB: Machado, Oliveira and Fernandes 2009.
SIGHT = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip


def _lab(linear):
    to_xyz = np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    xyz = np.clip(linear, 0, 1) @ to_xyz
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    f = np.where(f**3 > 0.008856, f, 7.787 * f**3 + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("sight", SIGHT)
def test_the_classes_can_be_told_apart_with_any_colour_vision(sight):
    colours = np.array([matplotlib.colors.to_rgb(c) for c in (*CLASSES, "#b4b4b4", "white")])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lab = _lab(linear @ np.array(SIGHT[sight]).T)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1000 * np.eye(len(lab))
    assert apart.min() > 18
    lightness = np.sort(_lab(linear)[: len(CLASSES), 0])
    assert np.diff(lightness).min() > 3


def test_pictures_without_colour_are_written_grey_and_the_same_every_time(tmp_path):
    first = save_png(_picture_of("words"), tmp_path / "a.png")
    second = save_png(_picture_of("words"), tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.mode == "L"
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_settings_of_the_user_change_nothing(tmp_path):
    plain = save_png(_picture_of("words"), tmp_path / "a.png").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "red", "font.family": "serif"}):
        assert save_png(_picture_of("words"), tmp_path / "b.png").read_bytes() == plain


def test_a_picture_that_fails_leaves_no_file(tmp_path):
    figure = _picture_of("words")
    figure.text(0.5, 0.5, "$\\notacommand{$", parse_math=True)
    with pytest.raises(ValueError, match="notacommand"):
        save_png(figure, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == [tmp_path / "work"]


def test_pyplot_is_never_imported(tmp_path):
    save_png(_picture_of("words"), tmp_path / "a.png")
    assert "matplotlib.pyplot" not in sys.modules
