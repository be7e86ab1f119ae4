"""Draw seeded Gaussian noise that is the same everywhere. numpy only.

`PortableNoise` is specified, with test vectors, in docs/noise.md, so that a seed gives the same picture in
Python, Swift, Java and TypeScript. `TorchNoise` gives the numbers that the authors' code draws.
"""

from collections.abc import Sequence
from enum import IntEnum
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from moebius_edge.common.errors import InvalidInput

Floats = NDArray[np.float32]
Words = NDArray[np.uint64]  # 32-bit words, held in 64 bits so that products do not overflow

MAX_SEED = 2**64 - 1


class Stream(IntEnum):
    """What the noise is for. The values are part of the specification."""

    IMAGE = 0  # sample of the picture's latent posterior
    MASKED_IMAGE = 1  # sample of the masked picture's
    LATENTS = 2  # the noise that the loop starts from
    OFFSET = 3  # its offset, one number per channel


class NoiseSource(Protocol):
    """Where the loop's random numbers come from. Streams are drawn in rising order, each once."""

    def normal(self, stream: Stream, shape: tuple[int, ...]) -> Floats:
        """Return standard normal numbers of the given shape, float32."""
        ...


def check_seed(seed: int) -> int:
    """Return the seed as a plain int. Raises InvalidInput unless it is a whole number of 0 to 2^64 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= int(seed) <= MAX_SEED:
        raise InvalidInput(f"seed is {seed!r}; expected a whole number from 0 to 2^64 - 1")
    return int(seed)


class PortableNoise:
    """Philox 4x32-10 and Box-Muller: element i of a stream depends on the seed, the stream and i alone."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = check_seed(seed)

    def normal(self, stream: Stream, shape: tuple[int, ...]) -> Floats:
        """Return elements 0, 1, 2, ... of the stream in row-major order, float32 (docs/noise.md).

        A second call gives the same numbers again.
        """
        count = prod(shape)
        blocks = -(-count // 4)
        counter = np.zeros((blocks, 4), np.uint64)
        counter[:, 0] = np.arange(blocks, dtype=np.uint64)
        counter[:, 2] = int(stream)
        words = philox4x32(counter, (self.seed & 0xFFFFFFFF, self.seed >> 32)).astype(np.float64)
        # Box & Muller 1958; (x + 1) / 2^32 is in (0, 1], so that the logarithm is finite.
        radius = np.sqrt(-2.0 * np.log((words[:, 0::2] + 1.0) / 2.0**32))
        angle = 2.0 * np.pi * (words[:, 1::2] / 2.0**32)
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        return pairs.reshape(-1)[:count].astype(np.float32).reshape(shape)


def philox4x32(counter: Words, key: tuple[int, int], rounds: int = 10) -> Words:
    """Return the random words that belong to counters, by Philox 4x32.

    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. `counter` [n,4] and `key` are
    32-bit words, least significant first. Returns [n,4] words.
    """
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(rounds):
        product0, product1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (product1 >> half) ^ c1 ^ np.uint64(k0),
            product1 & low,
            (product0 >> half) ^ c3 ^ np.uint64(k1),
            product0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1)


class TorchNoise:
    """The numbers of `torch.randn` on the CPU after `manual_seed(seed)`, draw after draw, without torch.

    mt19937 seeded with the low 32 bits. 16 numbers and more: 24-bit uniforms in blocks of 16, the first eight
    radii and the last eight angles, an incomplete last block drawn again over the last 16. Fewer: pairs from
    53-bit uniforms, the second of a pair kept for the next such draw. Equal to torch to about 1e-6, because
    torch's vector code approximates the logarithm, the sine and the cosine.
    """

    def __init__(self, seed: int = 0) -> None:
        self._twister = np.random.RandomState(check_seed(seed) & 0xFFFFFFFF)
        self._kept: float | None = None

    def normal(self, stream: Stream, shape: tuple[int, ...]) -> Floats:
        """Return the next numbers of the one sequence, float32: the order of the calls counts.

        The starting noise of several pictures ([B,4,h,w], B > 1) lies channels-last in memory in the authors'
        loop. torch fills memory in its order, and what is not contiguous one pair at a time.
        """
        count = prod(shape)
        if stream == Stream.LATENTS and len(shape) == 4 and shape[0] > 1:
            batch, channels, height, width = shape
            values = self._scalars(count).reshape(batch, height, width, channels).transpose(0, 3, 1, 2)
        else:
            values = (self._blocks(count) if count >= 16 else self._scalars(count)).reshape(shape)
        return np.ascontiguousarray(values, dtype=np.float32)

    def _words(self, count: int) -> NDArray[np.uint32]:
        # RandomState.bytes(0) would use up a word.
        return np.frombuffer(self._twister.bytes(4 * count) if count else b"", "<u4")

    def _uniform24(self, count: int) -> Floats:
        return (self._words(count) & 0xFFFFFF).astype(np.float32) / np.float32(2**24)

    def _blocks(self, count: int) -> NDArray[np.float64]:
        uniform = self._uniform24(count)
        values = np.empty(count)
        whole = count // 16 * 16
        values[:whole] = _box_muller16(uniform[:whole])
        if count % 16:  # the uniforms of the incomplete block were drawn and are thrown away, as torch does
            values[-16:] = _box_muller16(self._uniform24(16))
        return values

    def _scalars(self, count: int) -> NDArray[np.float64]:
        kept = [] if self._kept is None else [self._kept]
        pairs = (count - len(kept) + 1) // 2
        high_low = self._words(4 * pairs).astype(np.uint64).reshape(-1, 2)
        bits = (high_low[:, 0] << np.uint64(32) | high_low[:, 1]) & np.uint64(2**53 - 1)
        turn, rest = (bits / 2.0**53).reshape(-1, 2).T
        radius, angle = np.sqrt(-2.0 * np.log1p(-rest)), 2.0 * np.pi * turn
        values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
        values = np.concatenate([kept, values])
        self._kept = float(values[-1]) if len(values) > count else None
        return values[:count]


def _box_muller16(uniform: Floats) -> NDArray[np.float64]:
    """Turn blocks of 16 uniforms in [0,1) into blocks of 8 cosines and 8 sines, flat as they came."""
    blocks = uniform.astype(np.float64).reshape(-1, 16)
    radius = np.sqrt(-2.0 * np.log(1.0 - blocks[:, :8]))
    angle = 2.0 * np.pi * blocks[:, 8:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


class RecordedNoise:
    """Draws that were recorded elsewhere, one array per stream in the order of `Stream`."""

    def __init__(self, draws: Sequence[Floats]) -> None:
        self.draws = tuple(draws)

    def normal(self, stream: Stream, shape: tuple[int, ...]) -> Floats:
        """Return the recorded array. Raises InvalidInput when there is none or its shape is another one."""
        found = self.draws[stream].shape if stream < len(self.draws) else None
        if found != tuple(shape):
            raise InvalidInput(
                f"the recorded draw of {stream.name} has shape {found}; expected {tuple(shape)}"
            )
        return self.draws[stream].astype(np.float32)
