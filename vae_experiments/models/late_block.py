"""A layer that joins the training after a while."""

import torch
from torch import Tensor, nn

from vae_experiments.models.sequence import through


class LateBlock(nn.Module):
    """A convolution and its ReLU that join the training after a while (Net2DeeperNet, Chen et al. 2016).

    Until then training leaves them out, which costs nothing and, where they begin as the identity (`become_identity`),
    changes no value. In eval mode they are always computed.

    Args:
        convolution: of as many input as output channels, to the same size.
        start: the training passes that are made without it; counted in the buffer `passes`.
    """

    passes: Tensor

    def __init__(self, convolution: nn.Conv2d, start: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.activation = nn.ReLU()
        self.start = start
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self._has_joined = False

    def become_identity(self) -> None:
        """Of inputs that are not negative, as behind a ReLU."""
        nn.init.dirac_(self.convolution.weight)
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)

    @property
    def waits(self) -> bool:
        """Whether it has not joined the training yet."""
        # Once is enough: an accelerator's counter is not to be waited for in every step.
        self._has_joined = self._has_joined or self.passes.item() >= self.start
        return not self._has_joined

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.waits:
            self.passes += 1
            return x
        return through((self.convolution, self.activation), x)
