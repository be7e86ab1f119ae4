"""Make weights by a rule from tensor names to values, for benchmarks and tests. Needs torch."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def rule(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the value of the float tensor `name`, which keeps activations near unit scale in every layer.

    x is standard normal, from numpy's Philox with the CRC-32 of the name as key. The first line that fits:
    `running_var`: |x|/2 + 1/2; `running_mean`, `bias`: x/10; `rel_pos_emb`: x/sqrt(shape[2]); the embedding:
    x; one-dimensional: 1 + x/10; everything else: x/sqrt(product of shape[1:]).
    """
    generator = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
    x = generator.standard_normal(shape, dtype=np.float32)
    kind = name.rsplit(".", 1)[-1]
    if kind == "running_var":
        return np.abs(x) * np.float32(0.5) + np.float32(0.5)
    if kind in ("running_mean", "bias"):
        return np.float32(0.1) * x
    if kind == "rel_pos_emb":
        return x / np.float32(np.sqrt(shape[2]))
    if name.startswith("embedding_layer"):
        return x
    if len(shape) == 1:
        return np.float32(1) + np.float32(0.1) * x
    return x / np.float32(np.sqrt(prod(shape[1:])))


def fill_by_rule(module: nn.Module) -> None:
    """Fill every tensor of the module's state dict by `rule`, in place; integer tensors become 0."""

    def fill(item: tuple[str, torch.Tensor]) -> None:
        name, tensor = item
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(rule(name, tuple(tensor.shape))))
        else:
            tensor.zero_()

    with ThreadPoolExecutor() as pool:  # numpy draws without holding the interpreter
        list(pool.map(fill, module.state_dict().items()))
