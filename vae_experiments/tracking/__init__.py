import os


def set_mlflow_defaults() -> None:
    """Sets what MLflow reads from the environment, except where the user did.

    Called before any module of this room imports MLflow, and again whenever a store is opened.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # one for every file
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the tracker retries; MLflow's own 7 take minutes
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # at a run's end, with the password in it
        "GIT_PYTHON_REFRESH": "quiet",  # a missing git is said once, by environment.py
    }.items():
        os.environ.setdefault(name, value)


set_mlflow_defaults()
