"""The processes that train one model together (torchrun), or the one that does."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class World:
    """This process's place among those that train one model."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process keeps the records: folder, log, MLflow."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of n images: contiguous, and as even as n allows."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """`values` summed over all processes."""
        if self.size == 1:
            return values
        summed = values.to(_device())
        distributed.all_reduce(summed)
        return summed.to(values.device)

    def most(self, value: int) -> int:
        """The largest of the processes' values, on every process."""
        if self.size == 1:
            return value
        largest = torch.tensor(value, device=_device())
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest.item())

    def from_first(self, value: Any) -> Any:
        """The first process's value, on every process."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


def join_world() -> World:
    """Joins the processes that torchrun started; a world of one when it did not."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return World()
    if int(os.environ["WORLD_SIZE"]) == 1:
        return World()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not distributed.is_initialized():
        # Its functions have the group of all processes as a default argument: imported later, as
        # DistributedDataParallel does, they would keep the group alive after leave_world, and a thread of it that
        # frees a tensor while Python ends aborts the process.
        from torch.distributed import nn  # noqa: F401

        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return World(distributed.get_rank(), distributed.get_world_size())


def leave_world() -> None:
    """Leaves it, so that the other processes do not wait for this one, and its threads end before Python does."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _device() -> torch.device:
    """Where the backend's collectives take their tensors."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
