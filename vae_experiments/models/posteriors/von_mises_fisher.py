"""A density on the unit sphere that falls off evenly around a mode."""

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn.functional import normalize

from vae_experiments.errors import InputError
from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.initialization import init_glorot
from vae_experiments.models.layers import Linear
from vae_experiments.models.posteriors.base import Distribution, Posterior
from vae_experiments.models.sphere import log_area, log_normalizer

# Proposals of an angle that come with the noise. One is accepted with probability 0.65 or more, so that fewer
# than one latent in a billion has none and keeps its first, which is nearly distributed as it should be too.
TRIES = 20

# Of the quadrature behind the angle's gradient, and how many of the angle's standard deviations it spans.
NODES = 32
SPAN = 12.0

# Angles stay between these: the sine of one that float32 rounds to 0 or pi is zero, or less.
LEAST, MOST = 1e-9, math.pi - 1e-6


@dataclass(frozen=True)
class VMF(Distribution):
    """The density exp(kappa loc . z) up to a constant, on the unit sphere in R^latent_dim.

    Args:
        loc: the modes, of length 1, [B, latent_dim].
        kappa: the concentrations, positive, [B].
    """

    loc: Tensor
    kappa: Tensor

    @property
    def mean(self) -> Tensor:
        """The mode: the direction of the mean, whose length is less than 1."""
        return self.loc

    @cached_property
    def _normalizer(self) -> tuple[Tensor, Tensor]:
        return log_normalizer(self.kappa, self.loc.shape[-1])

    def rsample(self, noise: Tensor) -> Tensor:
        return self._at(self._angle(noise), noise)

    def log_prob(self, z: Tensor) -> Tensor:
        # kappa (loc . z - 1) of unit vectors, without the product's rounding, which kappa would magnify.
        return self._log_prob(0.5 * (z - self.loc).square().sum(-1))

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        angle = self._angle(noise)
        return self._at(angle, noise), self._log_prob(2 * torch.sin(angle / 2).square())

    def kl_to_uniform(self) -> Tensor:
        log_z, mean = self._normalizer
        return (self.kappa.to(mean) * mean - log_z).to(self.kappa)

    def detach(self) -> "VMF":
        return VMF(self.loc.detach(), self.kappa.detach())

    def __getitem__(self, images: slice) -> "VMF":
        return VMF(self.loc[images], self.kappa[images])

    def _log_prob(self, below: Tensor) -> Tensor:
        """Of latents with loc . z = 1 - below."""
        log_z, _ = self._normalizer
        at_mode = (self.kappa.to(log_z) - log_z).to(self.kappa) - log_area(self.loc.shape[-1])
        return at_mode - self.kappa * below

    def _at(self, angle: Tensor, noise: Tensor) -> Tensor:
        """The latent at that angle from the mode, in a direction that the noise's first numbers give."""
        dims = self.loc.shape[-1]
        across = torch.sin(angle)[..., None] * normalize(noise[..., : dims - 1], dim=-1)
        # Drawn around the first axis or its opposite, whichever is farther from the mode, then reflected onto the
        # mode: nowhere is the mirror's normal, loc + side, near zero.
        side = torch.where(self.loc[..., :1] < 0, -1.0, 1.0).to(self.loc)
        start = torch.cat([-side * torch.cos(angle)[..., None], across], -1)
        normal = torch.cat([self.loc[..., :1] + side, self.loc[..., 1:]], -1)
        return start - normal * (start * normal).sum(-1, keepdim=True) / (1 + side * self.loc[..., :1])

    def _angle(self, noise: Tensor) -> Tensor:
        """Angles from the mode, [..., B], differentiable in kappa."""
        with torch.no_grad():
            angle = _propose(self.kappa, self.loc.shape[-1], noise)
        if not (torch.is_grad_enabled() and self.kappa.requires_grad):
            return angle
        _, mean = self._normalizer  # with its gradient, for it is kept
        with torch.no_grad():
            slope = _angle_slope(angle, self.kappa, (1 - mean).to(self.kappa), self.loc.shape[-1])
        return angle + slope * (self.kappa - self.kappa.detach())


def _propose(kappa: Tensor, dims: int, noise: Tensor) -> Tensor:
    """Angles from the mode, [..., B], by Wood's (1994) rejection from proposals made of the noise.

    With w = cos(angle), everything is in terms of 1 - w, of which large concentrations leave no digit in w.
    """
    k = kappa[..., None]
    u, turn, accept = noise[..., dims - 1 :].unflatten(-1, (3, TRIES)).unbind(-2)
    # One coordinate of a uniform point on the sphere, t: two of its coordinates in polar form (Ulrich 1984).
    exponent = 2 / (dims - 2) if dims > 2 else math.inf
    t = torch.sqrt(-torch.expm1(exponent * torch.log(u))) * torch.cos(2 * math.pi * turn)
    b = (dims - 1) / (2 * k + torch.sqrt(4 * k.square() + (dims - 1) ** 2))
    below = 2 * b * (1 + t) / ((1 - t) + b * (1 + t))  # 1 - w
    x0, below0 = (1 - b) / (1 + b), 2 * b / (1 + b)  # below0 = 1 - x0
    log_ratio = k * (below0 - below) + (dims - 1) * torch.log((below0 + x0 * below) / (below0 * (1 + x0)))
    first = (log_ratio >= torch.log(accept)).int().argmax(-1, keepdim=True)
    return (2 * torch.asin(torch.sqrt(below.gather(-1, first)[..., 0].clamp(0, 2) / 2))).clamp(LEAST, MOST)


def _angle_slope(angle: Tensor, kappa: Tensor, below_mean: Tensor, dims: int) -> Tensor:
    """The derivative of the angles in kappa at a constant value of their distribution function F.

    Implicit reparameterisation (Figurnov et al. 2018): -dF/dkappa over the density at the angle, which is
    -integral_0^angle (cos t - A) f(t) / f(angle) dt with f(t) = exp(kappa cos t) sin(t)^(dims - 2), or the
    integral from the angle to pi. Of the two sides the one where f falls away from the angle is taken.

    Args:
        angle: [..., B].
        kappa: [B].
        below_mean: 1 - A(kappa), [B].
        dims: of the space around the sphere.
    """
    cos_mode = 2 * kappa / ((dims - 2) + torch.sqrt(4 * kappa.square() + (dims - 2) ** 2))
    span = SPAN / torch.sqrt(kappa * cos_mode + (kappa / cos_mode if dims > 2 else 0))  # in its curvature there
    low = angle < torch.acos(cos_mode)
    end = torch.where(low, (angle - span).clamp(min=0), (angle + span).clamp(max=MOST))
    half = 0.5 * (end - angle)[..., None]
    places, weights = _quadrature(angle.device, angle.dtype)
    nodes = angle[..., None] + half * (1 + places)
    apart = -2 * torch.sin(0.5 * (nodes + angle[..., None])) * torch.sin(0.5 * (nodes - angle[..., None]))
    log_f = kappa[..., None] * apart
    if dims > 2:
        log_f = log_f + (dims - 2) * torch.log(torch.sin(nodes) / torch.sin(angle)[..., None])
    values = (below_mean[..., None] - 2 * torch.sin(nodes / 2).square()) * log_f.exp()
    return (half * weights * values).sum(-1)


@cache
def _quadrature(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Places in (-1, 1) and weights of Gauss and Legendre's rule, [NODES] each; made once for every device."""
    places, weights = np.polynomial.legendre.leggauss(NODES)
    return torch.tensor(places, device=device, dtype=dtype), torch.tensor(weights, device=device, dtype=dtype)


class VonMisesFisher(Posterior):
    """Two linear heads on the encoder's features: the mode and the log concentration (Davidson et al. 2018).

    Latents lie on the unit sphere S^{latent_dim-1} in R^latent_dim; the paper's d, which counts the sphere's own
    dimensions, is latent_dim - 1. It has the concentration 1 + softplus of the head; here the head is its
    logarithm, like that of a Gaussian's precision, so that narrow posteriors are within reach of a small step.

    Args:
        features: width of the encoder's output.
        latent_dim: of the space around the sphere, at least 2.
        limit: bound on |log kappa|, approached smoothly.
        initial: log kappa of every image at first, up to that bound.

    Raises:
        InputError: latent_dim is 1.
    """

    space = "sphere"

    def __init__(
        self, features: int, latent_dim: int, limit: Annotated[float, Gt(0)] = 9.0, initial: float = 4.0
    ) -> None:
        super().__init__()
        if latent_dim < 2:
            raise InputError(
                f"architecture.latent_dim={latent_dim}: a sphere in one dimension is two points; "
                "posterior=von_mises_fisher needs two dimensions at least, and 3 for the ordinary sphere"
            )
        self.latent_dim = latent_dim
        self.limit = limit
        self.mode = Linear(features, latent_dim)
        self.log_kappa = Linear(features, 1)
        init_glorot(self)
        nn.init.constant_(self.mode.bias, 0.1)  # features of zero, as a blank image's at first, need a mode too
        nn.init.zeros_(self.log_kappa.weight)
        nn.init.constant_(self.log_kappa.bias, initial)

    def forward(self, features: Tensor) -> VMF:
        kappa = torch.exp(smooth_bound(self.log_kappa(features).float()[..., 0], self.limit))
        return VMF(normalize(self.mode(features).float(), dim=-1), kappa)

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """[n, latent_dim - 1 + 3 TRIES]: normals for a direction, then uniform numbers for the angle's proposals."""
        device = generator.device
        direction = torch.randn(n, self.latent_dim - 1, generator=generator, device=device)
        return torch.cat([direction, torch.rand(n, 3 * TRIES, generator=generator, device=device)], -1)
