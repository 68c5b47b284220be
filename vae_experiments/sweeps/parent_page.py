"""What a sweep's page in MLflow says at its top: how it stands, the best run, the table and the pictures. Markdown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from vae_experiments.comparison.rows import ELBO, FINISHED, Compared, ranked
from vae_experiments.comparison.table import note, run_table
from vae_experiments.runs.plan import Plan, shown
from vae_experiments.tracking.names import MAX_NOTE
from vae_experiments.tracking.views import run_page

_PICTURES = {
    "contact_sheet.png": "contact sheet",
    "by_parameter.png": "by parameter",
    "rate_distortion.png": "rate and distortion",
    "learning_curves.png": "learning curves",
    "parallel_coordinates.png": "parallel coordinates",
}
_OTHERS = {"explorer.html": "explorer", "table.md": "table"}
_LEFT_OUT = ("id", "run", "diagnosis")  # the run is where the first column leads; the others are on its page


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
        parts = [self._standing(rows), self._best(rows), self._pictures(comparison), self._table(rows)]
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

    def _pictures(self, comparison: Path) -> str:
        there = {name: title for name, title in _PICTURES.items() if (comparison / name).is_file()}
        if not there:
            return ""
        others = {name: title for name, title in _OTHERS.items() if (comparison / name).is_file()}
        links = [f"[{title}]({self._artifact(name)})" for name, title in (there | others).items()]
        first = next(iter(there))
        query = urlencode({"path": f"comparison/{first}", "run_uuid": self.run_id})
        return f"{', '.join(links)}\n\n![{there[first]}](get-artifact?{query})"

    def _artifact(self, name: str) -> str:
        return run_page(self.experiment_id, self.run_id, f"comparison/{name}")[1:]

    def _table(self, rows: Sequence[Compared]) -> str:
        """As many rows as MLflow takes, the best first."""
        if not rows:
            return ""
        table = run_table(rows, self.plan.keys)
        kept = [number for number, column in enumerate(table.columns) if column.title not in _LEFT_OUT]
        columns = [table.columns[number] for number in kept]
        lines = [
            ["run", *(_plain(column.title) for column in columns)],
            ["---", *("---:" if column.numeric else "---" for column in columns)],
        ]
        for row, cells in zip(ranked(rows, ELBO), table.texts(), strict=True):
            lines.append([self._link(row), *(_plain(cells[number]) for number in kept)])
        text, written = "", 0
        for line in lines:
            more = f"| {' | '.join(line)} |\n"
            if len(text) + len(more) > MAX_NOTE - 1000:
                break
            text, written = text + more, written + 1
        rest = len(lines) - written
        return note() + "\n\n" + text + (f"\nand {rest} more: see the table among the artifacts.\n" if rest else "")

    def _link(self, row: Compared) -> str:
        name = _plain(shown(row.name))
        return name if row.run_id is None else f"[{name}]({run_page(self.experiment_id, row.run_id)[1:]})"


def _plain(text: str) -> str:
    """Text that a person wrote, without what Markdown would read in it."""
    return "".join(f"\\{each}" if each in "\\`*_[]<>|" else each for each in text)
