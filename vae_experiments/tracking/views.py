"""Links into MLflow's pages, and the saved view that makes them open on the answer.

MLflow's own "share" button writes a view as a tag of the experiment. Its form is read off what MLflow 3 writes there
and is documented nowhere: where it is not taken, the plain link with filter and order stands in for it.
"""

import base64
import hashlib
import json
import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import requests
from mlflow.version import VERSION

from vae_experiments.tracking.names import KIND_TAG
from vae_experiments.tracking.store import Store

log = logging.getLogger(__name__)

BEST = "best/val_elbo"
COLUMNS = (BEST, "best/val_kl", "best/active_units", "time/images_per_second")
_TAG = "mlflow.sharedViewState."
_LONGEST = 5000  # characters of an experiment's tag
_UNDERSTOOD = "3."  # versions of MLflow whose pages read what is written here
_OVERVIEW = "Overview"
_PAGES_OF_TRAINING = "workflowType=machine_learning"  # else a first visitor gets those for language models around it
_SECTIONS = {_OVERVIEW: True, "val": True, "train": False, "best": False, "test": False, "time": False}


@dataclass(frozen=True)
class Shown:
    """What a view shows of an experiment.

    Args:
        experiment_id: the experiment.
        parent: run id of the sweep whose runs are shown, one beside the other; None for all runs but sweeps.
        varied: parameters in which they differ, by the names that MLflow has them under.
        epochs: that whose manifolds are shown; 0 for none.
    """

    experiment_id: str
    parent: str | None = None
    varied: Sequence[str] = ()
    epochs: int = 0

    @property
    def where(self) -> str:
        """The filter, in MLflow's words."""
        if self.parent is not None:
            return f"tags.`mlflow.parentRunId` = '{self.parent}'"
        return f"tags.`{KIND_TAG}` = 'run'"

    @property
    def key(self) -> str:
        """The saved view's name in links: the same for the same runs, so that it is replaced and not added to."""
        return "vae-" + hashlib.sha256(self.where.encode()).hexdigest()[:16]


def experiment_page(experiment_id: str) -> str:
    """The experiment without a choice of runs, for one that has none."""
    return f"/#/experiments/{experiment_id}?{_PAGES_OF_TRAINING}"


def run_page(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """A run's page, or one of its artifacts there."""
    page = f"/#/experiments/{experiment_id}/runs/{run_id}"
    return f"{page}{f'/artifacts/{quote(artifact)}' if artifact else ''}?{_PAGES_OF_TRAINING}"


def plain_page(shown: Shown) -> str:
    """The charts over the runs, the best first, as any MLflow 3 opens them: every metric in a chart of its own."""
    query = {
        "compareRunsMode": "CHART",
        "searchFilter": shown.where,
        "orderByKey": f"metrics.`{BEST}`",  # any order but the default one also shows children beside each other
        "orderByAsc": "false",
    }
    return f"/#/experiments/{shown.experiment_id}/runs?{_PAGES_OF_TRAINING}&{urlencode(query, quote_via=quote)}"


def saved_page(store: Store, shown: Shown) -> str:
    """The same with the charts and columns that matter; the plain page where MLflow does not take the saved view."""
    value = json.dumps(_tag(_state(shown)))
    tag = _TAG + shown.key
    try:
        if len(value) > _LONGEST or not _version(store).startswith(_UNDERSTOOD):
            return plain_page(shown)
        store.client.set_experiment_tag(shown.experiment_id, tag, value)
        if store.client.get_experiment(shown.experiment_id).tags.get(tag) != value:  # else its page shows an error
            return plain_page(shown)
    except Exception as error:  # a store that may only be read, or anything else: the view is never required
        log.debug("no saved view: %s", error)
        return plain_page(shown)
    # Neither filter nor order here: with them in the link, MLflow passes over the saved view.
    query = {"compareRunsMode": "CHART", "viewStateShareKey": shown.key}
    return f"/#/experiments/{shown.experiment_id}/runs?{_PAGES_OF_TRAINING}&{urlencode(query)}"


def _version(store: Store) -> str:
    """Of the MLflow whose pages will be opened."""
    if not store.uri.startswith(("http://", "https://")):
        return VERSION
    return requests.get(f"{store.uri}/version", timeout=5).text.strip()


def read_tag(value: str) -> dict[str, Any]:
    """The state in a saved view's tag, as MLflow's pages read it."""
    packed = json.loads(value)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def _tag(state: Mapping[str, Any]) -> dict[str, object]:
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    now = time.time_ns() // 1_000_000
    return {"name": "vae ui", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}


def _state(shown: Shown) -> dict[str, Any]:
    """Filter, order, columns and charts, by the names that MLflow's pages keep them under."""
    columns = [*(f"params.`{name}`" for name in shown.varied), *(f"metrics.`{name}`" for name in COLUMNS)]
    return {
        "searchFilter": shown.where,
        "orderByKey": f"metrics.`{BEST}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns, "tags.`diagnosis`", "attributes.`Duration`"],
        "runsHiddenMode": "FIRST_20_RUNS",  # of more than that, curves cannot be told apart
        "compareRunCharts": _charts(shown),
        "compareRunSections": [
            {"uuid": _section(name), "name": name, "display": display, "isReordered": False}
            for name, display in _SECTIONS.items()
        ],
        "isAccordionReordered": True,  # the order above, not the alphabet's
        "hideEmptyCharts": True,
        "groupBy": None,
    }


def _charts(shown: Shown) -> list[dict[str, Any]]:
    """Those of the first section. Of each metric that has none here MLflow makes one, in the metric's own section."""
    parallel = {"selectedParams": list(shown.varied), "selectedMetrics": [BEST], "showAllRuns": True}
    beside = {"showRunParams": False}  # else the tile is filled with them, and the picture is below its edge
    rate = {"key": "best/val_kl", "type": "METRIC"}
    distortion = {"key": "best/val_reconstruction", "type": "METRIC"}
    charts: list[dict[str, Any]] = [
        *([{"type": "PARALLEL", **parallel}] if shown.varied else []),
        _line("val/elbo"),
        {"type": "SCATTER", "xaxis": rate, "yaxis": distortion},
        {"type": "BAR", "metricKey": BEST},
        _line("val/kl"),
        *([{"type": "IMAGE", "imageKeys": ["manifold"], "step": shown.epochs, **beside}] if shown.epochs else []),
        {"type": "BAR", "metricKey": "time/images_per_second"},
    ]
    common = {"metricSectionId": _section(_OVERVIEW), "deleted": False, "isGenerated": False, "runsCountToCompare": 20}
    return [{"uuid": f"vae-chart-{number}", **common, **chart} for number, chart in enumerate(charts)]


def _line(metric: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _section(name: str) -> str:
    return f"vae-section-{name}"
