"""The optimiser, the average and the schedule that the two parts of the training share."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic coefficients of Muon (K. Jordan et al., 2024)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return roughly the nearest semi-orthogonal matrices to [..., rows, columns].

    By Newton-Schulz iterations. The coefficients are those of Muon (K. Jordan et al., 2024).
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x if wide else x.mT
    return result


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised, for weights of two or more dimensions.

    A convolution counts as the matrix [out, in * kh * kw]. Matrices of one shape are worked on together: a
    narrow model has hundreds of small ones, and one at a time took twice as long.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float | Tensor, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the weights once from their gradients.

        `closure` is not used; it is there because `torch.optim.Optimizer` has it.
        """
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault((weight.shape[0], weight[0].numel()), []).append(weight)
            for shape, weights in by_shape.items():
                self._update(shape, weights, group)

    def _update(self, shape: tuple[int, int], weights: list[Tensor], group: Mapping[str, Any]) -> None:
        ahead = self._lookahead(weights, group["momentum"])
        updates = orthogonalize(torch.stack([matrix.flatten(1) for matrix in ahead]))
        # The update's root mean square is made 0.2 whatever the shape, about AdamW's.
        updates = updates * (group["lr"] * 0.2 * math.sqrt(max(shape)))
        torch._foreach_mul_(weights, 1 - group["lr"] * group["decay"])
        shaped = [update.view_as(weight) for weight, update in zip(weights, updates, strict=True)]
        torch._foreach_sub_(weights, shaped)

    def _lookahead(self, weights: list[Tensor], momentum: float) -> list[Tensor]:
        """Return Nesterov's gradients; the velocities are kept."""
        grads = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["velocity"] = torch.zeros_like(weight)
        velocities = [self.state[weight]["velocity"] for weight in weights]
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, grads)
        return list(torch._foreach_add(grads, velocities, alpha=momentum))


def mixes_channels(name: str, weight: Tensor) -> bool:
    """Tell whether a weight is a matrix between channels: neither a depthwise convolution nor a vector."""
    return weight.ndim >= 2 and weight.shape[1] > 1


class Optimizers:
    """Muon for the matrices and convolutions, AdamW for everything else, under one learning-rate factor."""

    def __init__(
        self, model: nn.Module, lr: float, is_matrix: Callable[[str, Tensor], bool] = mixes_channels
    ) -> None:
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for name, weight in model.named_parameters():
            (matrices if is_matrix(name, weight) else others).append(weight)
        # On a GPU the rate is a tensor there: a captured step reads it, a number would be captured with it.
        gpu = next(model.parameters()).is_cuda
        self.rate: float | Tensor = torch.full((), lr, device="cuda") if gpu else lr
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(Muon(matrices, lr=self.rate))
        self.parts.append(
            torch.optim.AdamW(others, lr=self.rate, betas=(0.9, 0.98), weight_decay=0.0, capturable=gpu)
        )
        self.lr = lr

    def schedule(self, factor: float) -> None:
        """Set the rate to `factor` times the learning rate."""
        if isinstance(self.rate, Tensor):
            self.rate.fill_(self.lr * factor)
            return
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.lr * factor

    def step(self) -> None:
        """Make one update and clear the gradients."""
        for part in self.parts:
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the state of each optimiser, for a checkpoint."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Take the states of a checkpoint; the rate stays this run's."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
            for group in part.param_groups:
                group["lr"] = self.rate


class Average:
    """Exponential moving average of a model's state dict (integers are copied)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}
        device = next(iter(self.values.values())).device
        self.keep = torch.zeros((), device=device)

    def schedule(self) -> None:
        """Count an update, and set how much of the average it keeps.

        At first less than `decay`, (1 + n) / (10 + n) at update n, so that the initial weights are soon
        forgotten.
        """
        self.updates += 1
        self.keep.fill_(min(self.decay, (1 + self.updates) / (10 + self.updates)))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights of `model`."""
        state = model.state_dict()
        floats = [name for name, value in state.items() if value.is_floating_point()]
        averages = [self.values[name] for name in floats]
        torch._foreach_mul_(averages, self.keep)
        torch._foreach_add_(averages, torch._foreach_mul([state[name] for name in floats], 1 - self.keep))
        for name in state.keys() - set(floats):
            self.values[name].copy_(state[name])


def cosine(progress: float, warmup: float = 0.02, floor: float = 0.01) -> float:
    """Return the factor of the learning rate at `progress` in [0, 1].

    It rises linearly until `warmup`, then falls as half a cosine to `floor`.
    """
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    rest = min((progress - warmup) / (1 - warmup), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * rest))
