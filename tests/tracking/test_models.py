import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_experiments.models.architectures.conv import Conv
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.models import freeze, halves, weights_digest
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker

# In a process, and a folder, that know nothing of this package: loads by MLflow, any batch, then over HTTP.
USE = """
import sys, threading, time
sys.modules["vae_experiments"] = None
import numpy as np, mlflow, requests, uvicorn
from mlflow.pyfunc.scoring_server import init
uri, encoder, decoder, inputs, port = sys.argv[1:]
mlflow.set_tracking_uri(uri)
x = np.load(inputs)
encode, decode = mlflow.pyfunc.load_model(encoder), mlflow.pyfunc.load_model(decoder)
z = encode.predict(x)
assert np.allclose(encode.predict(x[:1]), z[:1], atol=1e-6)
np.savez("outputs.npz", z=z, images=decode.predict(z))
server = uvicorn.Server(uvicorn.Config(init(encode), port=int(port), log_level="error"))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.05)
answer = requests.post(f"http://127.0.0.1:{port}/invocations", json={"inputs": x.tolist()}, timeout=30)
assert np.allclose(answer.json()["predictions"], z, atol=1e-6), answer.text
"""


@pytest.fixture(scope="module")
def vae() -> VAE:
    torch.manual_seed(0)
    architecture = Conv(latent_dim=3, batch_size=4, filters=[4, 8], strides=[1, 2], dense=8)
    return build_vae(architecture, DiagonalGaussian, StandardNormal, Bernoulli(), (2, 9, 11))


def test_what_is_exported_lies_in_memory_in_plain_order(vae: VAE) -> None:
    vae = vae.to(memory_format=torch.channels_last)
    for module, _ in halves(vae).values():
        assert not all(parameter.is_contiguous() for parameter in module.parameters())
        assert all(parameter.is_contiguous() for parameter in freeze(module).parameters())


def test_the_models_load_and_serve_without_this_package(
    config: TrackingConfig, tmp_path: Path, vae: VAE, free_port: int
) -> None:
    assert config.uri is not None
    vae = vae.to(memory_format=torch.channels_last).train()
    before = weights_digest(vae)
    strides = [parameter.stride() for parameter in vae.parameters()]
    tracker = Tracker.start(config, run_name="r", folder=tmp_path / "run", tags={})
    tracker.log_models(vae)
    tracker.log_models(vae)  # as after a resume: nothing new
    assert tracker.finish("FINISHED")
    assert vae.training
    assert weights_digest(vae) == before
    assert [parameter.stride() for parameter in vae.parameters()] == strides
    assert all(parameter.requires_grad for parameter in vae.parameters())

    client = Store.open(config).client
    experiment = client.get_run(tracker.run_id).info.experiment_id
    logged = {model.name: model for model in client.search_logged_models([experiment])}
    assert sorted(logged) == ["decoder", "encoder"]
    assert len(client.get_run(tracker.run_id).outputs.model_outputs) == 2
    assert all(model.source_run_id == tracker.run_id and model.status == "READY" for model in logged.values())

    x = torch.rand(5, 2, 9, 11)
    np.save(tmp_path / "x.npy", x.numpy())
    (tmp_path / "use.py").write_text(USE)
    arguments = [
        config.uri,
        logged["encoder"].model_uri,
        logged["decoder"].model_uri,
        "x.npy",
        str(free_port),
    ]
    done = subprocess.run(
        [sys.executable, "use.py", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    outputs = np.load(tmp_path / "outputs.npz")
    with torch.no_grad():
        z = vae.encode(x).mean
        np.testing.assert_allclose(outputs["z"], z.numpy(), atol=1e-5)
        np.testing.assert_allclose(outputs["images"], vae.images(z).numpy(), atol=1e-5)
