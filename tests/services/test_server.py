"""Eight jobs, four at a time, recorded by an MLflow server with PostgreSQL behind it and artifacts apart."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import TINY, results, run_process

pytestmark = pytest.mark.timeout(900)


def test_eight_jobs_four_at_a_time_are_recorded_whole(server: str, tmp_path: Path) -> None:
    sweep = ["sweep.jobs=4", "sweep.estimate=false", "hydra.sweep.dir=sweep", "seed=range(8)"]
    ended = run_process("train", "-m", *TINY, "hooks.models=null", *sweep, MLFLOW_TRACKING_URI=server)
    print(ended.err)  # shown by -rP
    assert ended.status == 0, ended.err
    assert not Path("mlflow.db").exists()
    assert not Path("mlruns").exists()

    client = MlflowClient(server)
    (experiment,) = client.search_experiments(filter_string="name = 'vae'")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["vae.kind"] == "sweep"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(runs) == 9
    assert len(children) == 8
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.info.run_name for run in children}) == 8
    for run in children:
        expected = results(Path(run.data.tags["vae.folder"]))
        for name in expected[0]:
            history = client.get_metric_history(run.info.run_id, name)
            assert [metric.step for metric in history] == [1, 2], name
            assert [metric.value for metric in history] == [row[name] for row in expected], name
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        stored = [item.path for item in client.list_artifacts(run.info.run_id, "figures")]
        assert stored
        for path in ("config.yaml", stored[0]):
            here = Path(client.download_artifacts(run.info.run_id, path, str(tmp_path)))
            assert here.read_bytes() == (Path(run.data.tags["vae.folder"]) / path).read_bytes()
    assert client.list_artifacts(parent.info.run_id, "comparison")
