"""What a sweep's page in MLflow says at its top: how it stands, the best run, the table and the pictures. Markdown."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from vae_experiments.comparison.rows import ELBO, FINISHED, Compared, ranked
from vae_experiments.comparison.table import note, run_table
from vae_experiments.files import write_atomically
from vae_experiments.runs.plan import Plan, shown
from vae_experiments.tracking.markdown import table_head, table_row
from vae_experiments.tracking.names import MAX_NOTE
from vae_experiments.tracking.views import run_page

_PICTURES = {
    "contact_sheet.png": "contact sheet",
    "by_parameter.png": "by parameter",
    "rate_distortion.png": "rate and distortion",
    "learning_curves.png": "learning curves",
    "parallel_coordinates.png": "parallel coordinates",
}
_ARTIFACTS = {"explorer.html": "explorer", **_PICTURES, "table.md": "table"}
_LEFT_OUT = ("id", "run", "diagnosis")  # the run is where the first column leads; the others are on its page
PREVIEW = "preview.png"
_PREVIEW_WIDTH = 760  # pixels that a page 1,400 wide has beside MLflow's own columns; MLflow's Markdown takes no width


def draw_preview(comparison: Path) -> None:
    """The first of the pictures again, as wide as a sweep's page has room for.

    Raises:
        OSError: it cannot be read or written.
    """
    from PIL import Image  # not needed for the text

    for name in _PICTURES:
        if (comparison / name).is_file():
            buffer = io.BytesIO()
            with Image.open(comparison / name) as picture:
                small = picture.convert("RGB")
            small.thumbnail((_PREVIEW_WIDTH, small.height), Image.Resampling.LANCZOS)
            small.save(buffer, "PNG", optimize=True)
            write_atomically(comparison / PREVIEW, [buffer.getbuffer()])
            return


@dataclass(frozen=True)
class ParentPage:
    """The page of one sweep.

    Args:
        plan: the sweep's.
        experiment_id: where MLflow has it.
        run_id: of the parent run.
    """

    plan: Plan
    experiment_id: str
    run_id: str

    def text(self, rows: Sequence[Compared], comparison: Path) -> str:
        """The page as things stand.

        Args:
            rows: the jobs' runs, begun or not.
            comparison: the folder of what has been drawn so far.
        """
        # Links first: MLflow folds a description after some six lines, and lays what fades the last four over them.
        opening = [self._links(comparison), " ".join(part for part in (self._best(rows), self._standing(rows)) if part)]
        parts = ["  \n".join(line for line in opening if line), self._preview(comparison), self._table(rows)]
        return "\n\n".join(part for part in parts if part)

    def _standing(self, rows: Sequence[Compared]) -> str:
        counts = Counter(row.status for row in rows)
        said = [f"{count} {status.lower()}" for status, count in sorted(counts.items()) if status != FINISHED]
        varied = ", ".join(f"`{key}`" for key in self.plan.keys)
        of = f" of {len(rows)}" if rows else ""
        standing = ", ".join([f"{counts[FINISHED]}{of} runs finished", *said])
        return f"**{_plain(self.plan.name)}**, over {varied or 'nothing'}: {standing}."

    def _best(self, rows: Sequence[Compared]) -> str:
        for row in ranked(rows, ELBO):
            value = row.value(ELBO)
            if value is None:
                return ""
            return f"**Best:** {self._link(row)}, {ELBO} {value:.2f} nats per image at epoch {row.best_epoch}."
        return ""

    def _links(self, comparison: Path) -> str:
        """To what has been drawn, the most telling first."""
        there = {name: title for name, title in _ARTIFACTS.items() if (comparison / name).is_file()}
        return ", ".join(f"[{title}]({self._artifact(name)})" for name, title in there.items())

    def _preview(self, comparison: Path) -> str:
        """The picture that stands on the page itself."""
        if not (comparison / PREVIEW).is_file():
            return ""
        title = next((title for name, title in _PICTURES.items() if (comparison / name).is_file()), "comparison")
        query = urlencode({"path": f"comparison/{PREVIEW}", "run_uuid": self.run_id})
        return f"![{title}](get-artifact?{query})"

    def _artifact(self, name: str) -> str:
        return run_page(self.experiment_id, self.run_id, f"comparison/{name}")[1:]

    def _table(self, rows: Sequence[Compared]) -> str:
        """As many rows as MLflow takes, the best first."""
        if not rows:
            return ""
        table = run_table(rows, self.plan.keys)
        left_out = {*_LEFT_OUT, "status"} if all(row.status == FINISHED for row in rows) else _LEFT_OUT
        kept = [number for number, column in enumerate(table.columns) if column.title not in left_out]
        columns = [table.columns[number] for number in kept]
        lines = [
            table_row([self._link(row), *(_plain(cells[number]) for number in kept)])
            for row, cells in zip(ranked(rows, ELBO), table.texts(), strict=True)
        ]
        text, written = table_head(["run", *(_plain(column.title) for column in columns)]) + "\n", 0
        for line in lines:
            if len(text) + len(line) > MAX_NOTE - 1000:
                break
            text, written = f"{text}{line}\n", written + 1
        rest = len(lines) - written
        return note() + "\n\n" + text + (f"\nand {rest} more: see the table among the artifacts.\n" if rest else "")

    def _link(self, row: Compared) -> str:
        name = _plain(shown(row.name))
        return name if row.run_id is None else f"[{name}]({run_page(self.experiment_id, row.run_id)[1:]})"


def _plain(text: str) -> str:
    """Text that a person wrote, without what Markdown would read in it."""
    return "".join(f"\\{each}" if each in "\\`*_[]<>|" else each for each in text)
