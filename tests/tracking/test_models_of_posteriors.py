"""Every posterior's encoder as an MLflow model: the same codes for a batch of any size."""

from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch

from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import FullGaussian, InverseAutoregressive, Posterior, VonMisesFisher
from vae_experiments.models.priors import Prior, StandardNormal, UniformSphere
from vae_experiments.tracking.models import halves, save_model


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [(FullGaussian, StandardNormal), (InverseAutoregressive, StandardNormal), (VonMisesFisher, UniformSphere)],
)
def test_a_saved_encoder_gives_the_posteriors_codes(
    tmp_path: Path, posterior: type[Posterior], prior: type[Prior]
) -> None:
    torch.manual_seed(0)
    vae = build_vae(MLP(latent_dim=3, hidden=[8]), posterior, prior, Bernoulli(), (1, 6, 5))
    encoder, example = halves(vae)["encoder"]
    save_model(encoder, example, tmp_path / "encoder")
    saved = mlflow.pyfunc.load_model(str(tmp_path / "encoder"))
    for n in (1, 7):
        x = torch.rand(n, 1, 6, 5)
        with torch.no_grad():
            expected = vae.encode(x).mean.numpy()
        np.testing.assert_allclose(saved.predict(x.numpy()), expected, atol=1e-6)
