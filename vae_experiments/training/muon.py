"""Muon (Jordan et al. 2024): momentum made orthogonal for the matrices of a network, Adam for all the rest."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import pad

from vae_experiments.training.adam import Adam

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: they raise small singular values fastest, and leave all near 1


class Muon(Adam):
    """Turns the momentum of each matrix into the nearest orthogonal one, which moves all its directions alike.

    A convolution's kernel is a matrix of its first axis by all the others together. Matrices with fewer than
    `smallest` rows or columns (heads, first and last layers), and biases, are Adam's. PyTorch's own Muon takes no
    kernels, and leaves the rest to a second optimizer, of which neither schedules nor checkpoints here would know.

    Args:
        params: what is trained.
        lr: Adam's.
        matrix_lr: of the orthogonal updates, whose entries depend on a matrix's shape alone. A schedule moves
            it in proportion to `lr`.
        momentum: of the matrices' gradients, in Nesterov's form.
        newton_schulz_steps: of the iteration that makes them orthogonal.
        smallest: rows and columns that a matrix must have.
        betas: Adam's.
        eps: Adam's.
        fused: Adam's: all weights in one pass.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: Annotated[float, Gt(0)] = 3e-3,
        matrix_lr: Annotated[float, Gt(0)] = 0.02,
        momentum: Annotated[float, Ge(0), Lt(1)] = 0.95,
        newton_schulz_steps: Annotated[int, Ge(1)] = 5,
        smallest: Annotated[int, Ge(1)] = 16,
        betas: Sequence[float] = (0.9, 0.95),
        eps: Annotated[float, Gt(0)] = 1e-8,
        fused: bool = True,
    ) -> None:
        given = list(params)
        matrices = [p for p in given if p.ndim >= 2 and min(p.flatten(1).shape) >= smallest]
        matrix_ids = {id(p) for p in matrices}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in given if id(p) not in matrix_ids], "orthogonal": False},
            {"params": matrices, "orthogonal": True},
        ]
        super().__init__(groups, lr=lr, betas=betas, eps=eps, fused=fused)
        self.momentum = momentum
        self.newton_schulz_steps = newton_schulz_steps
        self.per_lr = matrix_lr / lr

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["orthogonal"]:
                trained = [p for p in group["params"] if p.grad is not None]
                updates = orthogonal([self._ahead(p) for p in trained], self.newton_schulz_steps)
                for parameter, update in zip(trained, updates, strict=True):
                    rows, columns = update.shape
                    factor = self.per_lr * max(1.0, rows / columns) ** 0.5
                    parameter.sub_(update.view(parameter.shape) * (group["lr"] * factor))
                    parameter.grad = None  # Adam leaves alone what has no gradient
        super().step()
        return loss

    def _ahead(self, parameter: Tensor) -> Tensor:
        """The momentum as it will be, a matrix."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            # Adam, when it is loaded, expects it of every weight.
            state["step"] = torch.zeros((), device=parameter.device)
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        state["momentum"].lerp_(parameter.grad, 1 - self.momentum)
        return parameter.grad.lerp(state["momentum"], self.momentum).flatten(1)


def orthogonal(matrices: Sequence[Tensor], steps: int) -> list[Tensor]:
    """Matrices [M, N] with their singular vectors, and all singular values about 1 (between 0.7 and 1.2).

    Newton-Schulz iterations x <- (a I + b G + c G^2) x, G = x x^T. Each is a polynomial in the first one's G, so
    that they are carried out on the small square matrices alone, padded with zeros and all of them at once; each
    large matrix is multiplied once, at the end.
    """
    if not matrices:
        return []
    wide = [m.float() if m.shape[0] <= m.shape[1] else m.float().T for m in matrices]
    size = max(len(m) for m in wide)
    gram = torch.stack([pad(m @ m.T, (0, size - len(m)) * 2) for m in wide])
    norm = gram.diagonal(dim1=1, dim2=2).sum(1).sqrt().clamp(min=1e-15)[:, None, None]
    gram /= norm.square()
    a, b, c = COEFFICIENTS
    identity = torch.eye(size, device=gram.device)
    product = identity / norm
    for _ in range(steps):
        factor = torch.baddbmm(torch.add(a * identity, gram, alpha=b), gram, gram, alpha=c)
        product = factor @ product
        gram = factor @ gram @ factor
    results = [p[: len(m), : len(m)] @ m for p, m in zip(product, wide, strict=True)]
    return [r if r.shape == m.shape else r.T for r, m in zip(results, matrices, strict=True)]
