"""The training film: the manifold and the codes, epoch by epoch, as one animated file.

It is drawn when all epochs are there, since only then is it known how far the codes reach.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vae_experiments.figures.frames import Frame, frame_path, read_frame
from vae_experiments.figures.style import SUBTLE, UNLABELLED_GREY, class_colours
from vae_experiments.figures.subject import Subject
from vae_experiments.files import write_atomically

SIDE = 360  # dots, of the manifold and of the scatter beside it
MARGIN = 12
TITLE = 26
DOT = 2.2  # radius
FINER = 2  # times as fine is the scatter drawn, then made smaller: round dots
MOST = 60  # epochs in a film, evenly spread over the run
COLOURS = 96
SECONDS = 8.0  # of the whole film, within what an eye can follow
FASTEST, SLOWEST, LAST = 120, 700, 2000  # milliseconds of a frame, and of the last one


def draw_film(folder: Path, epochs: int, subject: Subject, path: Path) -> Path | None:
    """Draws the frames of epochs 1 to `epochs` into `path`, a GIF; None where there are fewer than two."""
    there = [epoch for epoch in range(1, epochs + 1) if frame_path(folder, epoch).exists()]
    if len(there) < 2:
        return None
    chosen = [there[i] for i in np.unique(np.linspace(0, len(there) - 1, MOST).round().astype(int))]
    frames = [read_frame(frame_path(folder, epoch)) for epoch in chosen]
    reach = max(3.0, *(float(np.quantile(np.abs(frame.codes), 0.998)) for frame in frames if frame.codes.size)) * 1.06
    colours = dict(
        zip(
            subject.class_names,
            map(to_hex, class_colours(subject.config.palette, len(subject.class_names))),
            strict=True,
        )
    )
    pictures = [_picture(frame, f"epoch {epoch}", reach, colours) for epoch, frame in zip(chosen, frames, strict=True)]
    _write(pictures, path)
    return path


def _picture(frame: Frame, title: str, reach: float, colours: dict[int, str]) -> Image.Image:
    picture = Image.new("RGB", (2 * SIDE + 3 * MARGIN, SIDE + MARGIN + TITLE), "white")
    ImageDraw.Draw(picture).text((MARGIN, 6), title, fill=SUBTLE, font=ImageFont.load_default(13))
    manifold = ImageOps.contain(Image.fromarray(frame.manifold), (SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.paste(manifold, (MARGIN, TITLE))
    picture.paste(_scatter(frame, reach, colours), (2 * MARGIN + SIDE, TITLE))
    return picture


def _scatter(frame: Frame, reach: float, colours: dict[int, str]) -> Image.Image:
    size = SIDE * FINER
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size - 1, size - 1), outline="#d0d0d0", width=FINER)
    for zero in (((0, size / 2), (size, size / 2)), ((size / 2, 0), (size / 2, size))):
        draw.line(zero, fill="#e6e6e6", width=FINER)
    at = (frame.codes * (1, -1) / reach + 1) / 2 * size
    for (x, y), label in zip(at.tolist(), frame.labels.tolist(), strict=True):
        draw.circle((x, y), DOT * FINER, fill=colours.get(label, UNLABELLED_GREY))
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def _write(pictures: Sequence[Image.Image], path: Path) -> None:
    """With the last picture's palette, which has all that the others show: nothing flickers."""
    palette = pictures[-1].quantize(COLOURS, dither=Image.Dither.NONE)
    first, *rest = (each.quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures)
    pace = int(min(SLOWEST, max(FASTEST, 1000 * SECONDS / len(pictures))))
    buffer = io.BytesIO()
    durations = [pace] * len(rest) + [LAST]
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    write_atomically(path, [buffer.getbuffer()])
