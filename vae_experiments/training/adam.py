"""Adam as PyTorch has it, all weights in one pass on a CPU."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from vae_experiments.kernels import compiled, updates
from vae_experiments.kernels.updates import Trained, is_like

OTHERS = ("amsgrad", "maximize", "capturable", "differentiable")  # forms, some by hand, that the kernel does not have


class Adam(torch.optim.Adam):
    """PyTorch's Adam (Kingma & Ba 2015), its state and its arithmetic.

    PyTorch's fused form spends most of a small network's update on bookkeeping for each weight; here it is one call of
    a kernel compiled for the CPU, where there is one.

    Args:
        params: what is trained, or groups of it.
        lr: the learning rate.
        betas: what the moments keep of themselves in each step.
        eps: added to the root of the second.
        weight_decay: of the weights; part of the gradient unless it is decoupled.
        decoupled_weight_decay: weights decay apart from the gradient, as in AdamW (Loshchilov & Hutter 2019).
        amsgrad: with the largest second moment so far (Reddi et al. 2018).
        fused: all weights in one pass.
    """

    compiled = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: Annotated[float, Ge(0)] = 1e-3,
        betas: Sequence[Annotated[float, Ge(0), Lt(1)]] = (0.9, 0.999),
        eps: Annotated[float, Ge(0)] = 1e-8,
        weight_decay: Annotated[float, Ge(0)] = 0.0,
        decoupled_weight_decay: bool = False,
        amsgrad: bool = False,
        fused: bool = True,
    ) -> None:
        beta1, beta2 = betas
        super().__init__(
            params,
            lr=lr,
            betas=(beta1, beta2),
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            amsgrad=amsgrad,
            fused=fused,
        )

    @property
    def takes_kernels(self) -> bool:
        """Whether its updates are the kernel's, but for each parameter's first; of float32 weights."""
        return all(self._is_taken(group) for group in self.param_groups) and compiled.updates() is not None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        groups = [(group, self._trained(group)) for group in self.param_groups]
        is_scaled = any(getattr(self, name, None) is not None for name in ("grad_scale", "found_inf"))
        others = closure is not None or is_scaled or any(trained is None for _, trained in groups)
        if others or compiled.updates() is None:  # asked last: it may have to be compiled
            return super().step(closure)
        for group, trained in groups:
            updates.adam(
                trained or (),
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                decay=group["weight_decay"],
                decoupled=group["decoupled_weight_decay"],
            )
        return None

    def _trained(self, group: dict[str, Any]) -> list[Trained] | None:
        """What the kernel is to update of a parameter group; None where PyTorch is to do it, a first step for one."""
        if group["fused"]:
            for p in group["params"]:
                self._bring_in_order(p)
        if not self._is_taken(group):
            return None
        result = []
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state.get(p)
            if not state:
                return None
            trained = Trained(p, p.grad, state["exp_avg"], state["exp_avg_sq"], state["step"])
            if not trained.is_taken:
                return None
            result.append(trained)
        return result

    def _bring_in_order(self, p: Tensor) -> None:
        """Moments and gradient as the weights lie in memory, which fused forms count on (PyTorch's without a word)."""
        if p.grad is None:
            return
        if not is_like(p.grad, p):
            p.grad = torch.empty_like(p).copy_(p.grad)
        state = self.state.get(p, {})
        for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
            if name in state and not is_like(state[name], p):
                state[name] = torch.empty_like(p).copy_(state[name])

    def _is_taken(self, group: dict[str, Any]) -> bool:
        """Whether the kernel has this form of Adam, for weights that are there."""
        on_cpu = all(p.is_cpu for p in group["params"])
        return self.compiled and on_cpu and group["fused"] and not any(group[form] for form in OTHERS)
