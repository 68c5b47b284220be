"""Autoregressive steps: what their outputs hang on, and their log-determinants against autograd's Jacobian."""

import pytest
import torch
from torch import Tensor

from vae_experiments.models.flows.autoregressive import AutoregressiveNet


def normals(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dims", "hidden"), [(1, 8), (2, 8), (5, 16), (7, 4)])
def test_a_step_is_triangular_and_its_log_determinant_is_autograds(dims: int, hidden: int) -> None:
    torch.manual_seed(0)
    net = AutoregressiveNet(dims, 6, hidden).double()
    torch.nn.init.normal_(net.last.weight)
    context = normals(1, 6, seed=2).double()
    step = net(context)
    z = normals(dims, seed=3).double()
    jacobian = torch.autograd.functional.jacobian(lambda v: step(v[None])[0][0], z)
    assert torch.equal(jacobian, torch.tril(jacobian))
    torch.testing.assert_close(step(z[None])[1][0], torch.linalg.slogdet(jacobian)[1])


def test_a_dimension_hangs_on_all_before_it_and_on_the_context() -> None:
    torch.manual_seed(0)
    net = AutoregressiveNet(5, 6, 16)
    torch.nn.init.normal_(net.last.weight)
    z, context = normals(5, seed=4), normals(1, 6, seed=5)
    by_z = torch.autograd.functional.jacobian(lambda v: net(context)(v[None])[0][0], z)
    by_context = torch.autograd.functional.jacobian(lambda c: net(c)(z[None])[0][0], context)
    assert (by_z[torch.tril_indices(5, 5)[0], torch.tril_indices(5, 5)[1]] != 0).all()
    assert (by_context.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize(("dims", "hidden"), [(1, 8), (2, 8), (5, 16), (7, 4)])
def test_an_inverted_step_gives_back_the_latent_and_its_log_determinant(dims: int, hidden: int) -> None:
    torch.manual_seed(0)
    net = AutoregressiveNet(dims, 6, hidden).double()
    torch.nn.init.normal_(net.last.weight)
    step = net(normals(3, 6, seed=6).double())
    z = normals(4, 3, dims, seed=7).double()
    y, log_det = step(z)
    back, log_det_again = step.inverse(y)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(log_det_again, log_det)


def test_gradients_pass_through_the_inverse() -> None:
    torch.manual_seed(0)
    net = AutoregressiveNet(3, 2, 8).double()
    torch.nn.init.normal_(net.last.weight)
    y, context = normals(2, 3, seed=8).double().requires_grad_(), normals(2, 2, seed=9).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v, c: net(c).inverse(v), (y, context))
