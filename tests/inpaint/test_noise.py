"""The portable generator against its specification and the Random123 vectors; torch's against torch."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.noise import PortableNoise, RecordedNoise, Stream, TorchNoise, philox4x32

SPECIFICATION = (Path(__file__).parents[2] / "docs" / "noise.md").read_text()
WORDS = r"`((?:[0-9a-f]{8} ?)+)`"
KNOWN_ANSWERS = re.findall(rf"^\| {WORDS} \| {WORDS} \| {WORDS} \|$", SPECIFICATION, re.M)
VECTORS = re.findall(rf"^\| `(0x\w+)` \| (\d) \| (\d+) \| {WORDS} \| `(.*)` \|$", SPECIFICATION, re.M)


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def philox(counter: list[int], key: list[int]) -> list[int]:
    return philox4x32(np.array([counter], np.uint64), (key[0], key[1]))[0].tolist()  # type: ignore[no-any-return]


def test_the_specification_has_vectors_to_compare() -> None:
    assert len(KNOWN_ANSWERS) == 3 and len(VECTORS) >= 12


@pytest.mark.parametrize(
    ("counter", "key", "output"),
    [  # Random123's kat_vectors, philox4x32 with 10 rounds
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers(counter: list[int], key: list[int], output: list[int]) -> None:
    assert philox(counter, key) == output
    assert (counter, key, output) in [tuple(map(words, row)) for row in KNOWN_ANSWERS]


@pytest.mark.parametrize(("seed", "stream", "block", "output", "numbers"), VECTORS)
def test_the_documented_vectors_hold(seed: str, stream: str, block: str, output: str, numbers: str) -> None:
    key = [int(seed, 16) & 0xFFFFFFFF, int(seed, 16) >> 32]
    assert philox([int(block), 0, int(stream), 0], key) == words(output)
    first = 4 * int(block)
    found = PortableNoise(int(seed, 16)).normal(Stream(int(stream)), (first + 4,))[first:]
    assert np.abs(found - np.array(numbers.split(), np.float64)).max() < 1e-6


def test_the_documented_statistics_hold() -> None:
    noise = PortableNoise(0).normal(Stream.LATENTS, (1, 4, 64, 64)).astype(np.float64)
    found = re.search(r"mean (\S+), standard deviation (\S+), minimum (\S+), maximum (\S+)\.", SPECIFICATION)
    assert found is not None
    expected = [float(value) for value in found.groups()]
    assert np.allclose([noise.mean(), noise.std(), noise.min(), noise.max()], expected, atol=2e-6)


@given(seed=st.integers(0, 2**64 - 1), size=st.integers(1, 300), more=st.integers(0, 300))
def test_an_element_does_not_depend_on_the_size_of_the_array(seed: int, size: int, more: int) -> None:
    source = PortableNoise(seed)
    short, long = (source.normal(Stream.IMAGE, (count,)) for count in (size, size + more))
    assert np.array_equal(short, long[:size])


@pytest.mark.parametrize("stream", list(Stream))
def test_portable_noise_is_standard_normal(stream: Stream) -> None:
    noise = PortableNoise(5).normal(stream, (400_000,)).astype(np.float64)
    assert abs(noise.mean()) < 0.006 and abs(noise.std() - 1) < 0.005
    assert abs((noise**3).mean()) < 0.02 and abs((noise**4).mean() - 3) < 0.06
    assert abs((noise[::2] * noise[1::2]).mean()) < 0.01  # cosine and sine of a pair
    assert np.isfinite(noise).all() and np.abs(noise).max() < 6.67


def test_seeds_and_streams_differ() -> None:
    draws = [
        tuple(PortableNoise(seed).normal(stream, (4,))) for seed in (0, 1, 2**32, 2**63) for stream in Stream
    ]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "1"])
def test_a_seed_out_of_range_is_refused(seed: object) -> None:
    for source in (PortableNoise, TorchNoise):
        with pytest.raises(InvalidInput, match="seed"):
            source(seed)  # type: ignore[arg-type]


SHAPES = [(1, 4, 8, 8), (3,), (1, 4, 1, 1), (17,), (2, 4, 1, 1), (16,), (5, 5), (1,), (1,), (100,), (2, 999)]


@pytest.mark.parametrize("seed", [0, 3, 2**32 + 5, 2**63 + 11])
def test_torch_noise_is_torchs(seed: int) -> None:
    torch = pytest.importorskip("torch")
    generator, source = torch.Generator().manual_seed(seed), TorchNoise(seed)
    for shape in SHAPES:
        expected = torch.randn(shape, generator=generator).numpy()
        assert np.abs(source.normal(Stream.IMAGE, shape) - expected).max() < 3e-6, shape


def test_the_starting_noise_of_a_batch_is_torchs_channels_last() -> None:
    torch = pytest.importorskip("torch")
    generator, source = torch.Generator().manual_seed(1), TorchNoise(1)
    expected = torch.empty(3, 4, 5, 6).to(memory_format=torch.channels_last).normal_(generator=generator)
    assert np.abs(source.normal(Stream.LATENTS, (3, 4, 5, 6)) - expected.numpy()).max() < 3e-6


def test_recorded_noise_checks_shapes() -> None:
    draw = np.arange(8, dtype=np.float32).reshape(1, 8)
    assert np.array_equal(RecordedNoise([draw]).normal(Stream.IMAGE, (1, 8)), draw)
    with pytest.raises(InvalidInput, match=r"IMAGE has shape \(1, 8\); expected \(2, 4\)"):
        RecordedNoise([draw]).normal(Stream.IMAGE, (2, 4))
    with pytest.raises(InvalidInput, match="OFFSET has shape None"):
        RecordedNoise([draw]).normal(Stream.OFFSET, (1, 8))
