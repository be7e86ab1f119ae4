"""Store the weights of an ML program in fewer bits: integers with scales, or indices into a table of values.

coremltools' own passes rewrite the constants; which values a table holds is decided here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from moebius_edge.common.tensors import Array
from moebius_edge.export.targets.coreml import TARGET
from moebius_edge.export.targets.coreml.tools import cto

LEAST_WEIGHTS = 2048  # smaller tensors are not worth a table
BLOCK = 32  # input channels that share a scale in 4 bits
ROUNDS = 100  # of Lloyd's algorithm at most; it ends when nothing moves


@dataclass(frozen=True)
class Compression:
    """A pass of coremltools with its configuration."""

    step: str
    config: Any  # an OptimizationConfig

    def add_to(self, pipeline: Any) -> None:
        """Append the pass as the last one, when constants have their final form."""
        pipeline.append_pass(self.step)
        pipeline.set_options(self.step, {"config": self.config})


def nearest_values(weight: Array, bits: int) -> tuple[Array, Array]:
    """Find the table of 2^bits values, and the indices, that give `weight` with the least square error.

    k-means in one dimension (Lloyd 1982) over the distinct values, from the quantiles of density^(1/3), which
    is where the best values lie when there are many (Panter and Dite 1951). Returns the table in the type of
    `weight`, ascending, and uint8 indices, both flat; the same for the same weight.
    """
    values, counts, inverse = _distinct(weight.reshape(-1))
    exact, size = values.astype(np.float64), 2**bits
    if len(values) <= size:
        table = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
        return table, inverse(np.arange(len(values)))
    totals, sums = _running(counts), _running(counts * exact)
    table = _first_table(exact, counts, size)
    for _ in range(ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(exact, (table[1:] + table[:-1]) / 2), [len(exact)]])
        number = np.diff(totals[ends])
        moved = np.where(number > 0, np.diff(sums[ends]) / np.maximum(number, 1), table)
        if np.array_equal(moved, table):
            break
        table = moved
    rounded = table.astype(weight.dtype)
    middles = (rounded[1:].astype(np.float64) + rounded[:-1].astype(np.float64)) / 2
    return rounded, inverse(np.searchsorted(middles, exact))


def _distinct(weights: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
    """Return the distinct values, ascending, how often each occurs, and a function.

    The function turns one number per value into uint8 [weights], one per weight.
    """
    if weights.dtype != np.float16:
        values, places, counts = np.unique(weights, return_inverse=True, return_counts=True)
        return values, counts, lambda numbers: numbers.astype(np.uint8)[places.reshape(-1)]
    # Adding 0 turns -0 into 0. There are so few codes that counting is 40 times as fast as sorting.
    codes = (weights + np.float16(0)).view(np.uint16)
    often = np.bincount(codes, minlength=2**16)
    used = np.flatnonzero(often).astype(np.uint16)
    used = used[np.argsort(used.view(np.float16), kind="stable")]

    def inverse(numbers: Array) -> Array:
        by_code = np.zeros(2**16, np.uint8)
        by_code[used] = numbers
        return by_code[codes]

    return used.view(np.float16), often[used], inverse


def _running(values: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _first_table(values: Array, counts: Array, size: int) -> Array:
    """Return the quantiles of density^(1/3), with the density from a histogram."""
    density, edges = np.histogram(values, bins=16 * size, weights=counts)
    share = _running(np.cbrt(density))
    quantiles = (np.arange(size) + 0.5) / size * share[-1]
    table: Array = np.interp(quantiles, share, edges)
    return table


def _integers(dtype: str, granularity: str, **others: Any) -> Any:
    return cto.OpLinearQuantizerConfig(
        mode="linear_symmetric",
        dtype=dtype,
        granularity=granularity,
        weight_threshold=LEAST_WEIGHTS,
        **others,
    )


def _rounded(config: Any, **others: Any) -> Compression:
    """Make the pass that rounds to integers; `others`: configurations of operators that get another one."""
    made = cto.OptimizationConfig(global_config=config, op_type_configs=others)
    return Compression("compression::linear_quantize_weights", made)


def _table(bits: int) -> Compression:
    lookup = partial(nearest_values, bits=bits)
    config = cto.OpPalettizerConfig(mode="custom", lut_function=lookup, weight_threshold=LEAST_WEIGHTS)
    return Compression("compression::palettize_weights", cto.OptimizationConfig(config))


# Precision, each of the row's `made_of` -> what is done to a program in FP16. The autoencoder's errors show,
# and it is small beside the denoiser: it keeps 8 bits.
BYTES = _integers("int8", "per_channel")
BLOCKS = _integers("int4", "per_block", block_size=BLOCK)
INTEGERS, TABLE = _rounded(BYTES), _table(8)
COMPRESSIONS: Mapping[str, tuple[Compression, Compression]] = {  # of the denoiser, of the others
    "w8": (INTEGERS, INTEGERS),
    "w4": (_rounded(BLOCKS, matmul=BYTES), INTEGERS),  # tables of positions have no rows of blocks
    "p8": (TABLE, TABLE),
    "p6": (_table(6), TABLE),
    "p4": (_table(4), TABLE),
}


def compression(precision: str, graph: str) -> Compression | None:
    """Return what is done to the weights of a graph; None when the precision leaves them as they are."""
    if precision not in TARGET.made_of:
        return None
    return COMPRESSIONS[precision][graph != "denoiser"]
