"""A dataset as MLflow's run inputs show it."""

import json

from vae_experiments.data.prepare import ImageData
from vae_experiments.tracking.names import text


def describe(data: ImageData) -> dict[str, str]:
    """The fields of an `mlflow.entities.Dataset`: name, digest, source, and shape and counts as JSON."""
    dataset = data.dataset
    web = dataset.source.startswith(("http://", "https://"))
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, *dataset.image_shape]}}
    parts = {"train": data.parts.train, "val": data.parts.val, "test": data.parts.test}
    profile: dict[str, object] = {
        "features_shape": [len(dataset), *dataset.image_shape],
        "num_rows": len(dataset),
        "binarization": data.binarization,
    }
    profile |= {f"num_{name}": len(rows) for name, rows in parts.items()}
    return {
        "name": text(dataset.name, 500) or "images",
        "digest": dataset.digest[:36],  # all that MLflow has room for
        "source_type": "http" if web else "local",
        "source": json.dumps({"url" if web else "uri": text(dataset.source, 10000)}),
        "schema": json.dumps({"mlflow_tensorspec": {"features": json.dumps([tensor]), "targets": None}}),
        "profile": json.dumps(profile),
    }
