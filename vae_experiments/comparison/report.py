"""The files of a comparison: table.md, table.csv and the pictures."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vae_experiments import garbage
from vae_experiments.comparison.rows import ELBO, Compared, without_seed
from vae_experiments.comparison.table import note, run_table, summary_table
from vae_experiments.files import write_atomically
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.training.config import TrainerConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def write_report(
    rows: Sequence[Compared],
    keys: Sequence[str],
    folder: Path,
    *,
    title: str,
    sheet: bool = True,
    metric: str = ELBO,
    tracking: TrackingConfig | None = None,
    trust: Sequence[str] = (),
) -> list[Path]:
    """Writes each file whole or not at all, over what an earlier report left; those written, in order.

    A picture that cannot be drawn is logged, and the others are drawn all the same. One about which there
    is nothing to say yet is not drawn.

    Args:
        rows: in any order, finished or not.
        keys: what varied, by full names; `seed` among them makes repeats.
        folder: made if it is not there; one process at a time writes it.
        title: of the table.
        sheet: also draw the contact sheet and make the explorer, for which runs' checkpoints are read.
        metric: what "best" is of.
        tracking: where the checkpoints of runs are that have no folder on this machine; None leaves those out.
        trust: packages whose classes the stored configs may name.

    Raises:
        OSError: the tables cannot be written.
    """
    from vae_experiments.comparison.pictures import draw, lineup

    garbage.as_usual()  # figures are much memory behind few objects
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "table.md", folder / "table.csv"]
    write_atomically(files[0], [_markdown(rows, keys, title, metric).encode()])
    write_atomically(files[1], [run_table(rows, keys, metric).csv().encode()])
    settings = without_seed(keys)
    for name, picture in draw(rows, settings, metric).items():
        files += _guarded(name, picture, folder)
    if sheet:
        from vae_experiments.comparison.explorer import sweep_explorer  # torch takes a second to import
        from vae_experiments.comparison.sheet import draw_sheet
        from vae_experiments.training.hardware import choose

        labels = lineup(rows, settings).labels
        store = tracking or TrackingConfig(enabled=False)
        with choose(TrainerConfig(device="cpu")).autocast():  # finer than the eye, and in a fraction of the time
            files += _guarded("contact_sheet", lambda: draw_sheet(rows, settings, labels, metric, store, trust), folder)
            files += _explorer(lambda: sweep_explorer(rows, labels, metric, store, trust, title=title), folder)
    return files


def _markdown(rows: Sequence[Compared], keys: Sequence[str], title: str, metric: str) -> str:
    parts = [f"# {title}\n", note(metric) + "\n"]
    summary = summary_table(rows, keys, metric)
    if summary is not None:
        parts += ["## Mean and standard deviation over seeds, finished runs\n", summary.markdown(), "## Runs\n"]
    parts.append(run_table(rows, keys, metric).markdown())
    failed = [f"- {row.name}: {row.reason}" for row in rows if row.reason]
    parts += ["## Failed\n", "\n".join(failed) + "\n"] if failed else []
    return "\n".join(parts)


def _guarded(name: str, picture: "Callable[[], Figure | None]", folder: Path) -> list[Path]:
    from vae_experiments.figures.style import save_png

    try:
        figure = picture()
        return [] if figure is None else [save_png(figure, folder / f"{name}.png")]
    except Exception as error:  # a picture is never worth the others; what went wrong is on record with its name
        log.warning("the picture %s could not be drawn: %s", name, error, exc_info=True)
        return []


def _explorer(make: Callable[[], str | None], folder: Path) -> list[Path]:
    path = folder / "explorer.html"
    try:
        page = make()
        if page is None:
            return []
        write_atomically(path, [page.encode()])
    except Exception as error:  # as a picture
        log.warning("the explorer could not be made: %s", error, exc_info=True)
        return []
    return [path]
