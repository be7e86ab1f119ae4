"""Do work in parts, on several threads: gradients of a batch, fills of many holes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

import torch
from torch import Tensor, nn

from moebius_edge.common.progress import progress

Part = TypeVar("Part")
Result = TypeVar("Result")


def _alone() -> None:
    """Use one thread inside an operator, for the thread that calls this."""
    torch.set_num_threads(1)


def in_parallel(work: Callable[[Part], Result], parts: Sequence[Part], label: str) -> list[Result]:
    """Do `work` of every part, by as many threads as there are cores, showing how many are done.

    Returns the results in order. Each thread has one thread inside an operator, like `Workers`. After Ctrl-C
    no further part is begun.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(cpu_count(), initializer=_alone)
    try:
        with progress(label) as tick:
            results = []
            for result in pool.map(work, parts):
                results.append(result)
                tick(len(results), len(parts))
            return results
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


class Workers:
    """Threads that take parts of a batch one after another.

    On a busy CPU this beats the threads inside an operator: there each operator waits for the thread whose
    core is taken, here that thread just does fewer parts, each with one thread. The result does not depend on
    which thread did what: gradients are summed in the order of the parts.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.pool = ThreadPoolExecutor(count, initializer=_alone) if count > 1 else None

    def gradients(
        self,
        model: nn.Module,
        parts: Sequence[Part],
        loss: Callable[[Part], Tensor],
        alongside: Callable[[], None] | None = None,
    ) -> Tensor:
        """Set the gradients of `model` to those of the mean of `loss` over the parts, and return that mean.

        `alongside` is other work that is to be done by the end, on whichever thread is free.
        """
        weights = [weight for weight in model.parameters() if weight.requires_grad]

        def one(part: Part) -> tuple[Tensor, tuple[Tensor, ...]]:
            value = loss(part)
            return value.detach(), torch.autograd.grad(
                value, weights, allow_unused=True, materialize_grads=True
            )

        other = self.pool.submit(alongside) if self.pool is not None and alongside is not None else None
        results = list(self.pool.map(one, parts) if self.pool is not None else map(one, parts))
        if other is not None:
            other.result()
        elif alongside is not None:
            alongside()
        for index, weight in enumerate(weights):
            parts_of = [grads[index] for _, grads in results]
            weight.grad = parts_of[0] if len(parts_of) == 1 else torch.stack(parts_of).mean(0)
        # No `item()`: on a GPU the host would wait for every step.
        return torch.stack([value for value, _ in results]).mean()
