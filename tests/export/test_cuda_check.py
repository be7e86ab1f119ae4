"""The measurement of CUDA variants, on the CPU: what it reports, not how fast that is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.export.cuda_check import VARIANTS, main, time_variants
from moebius_edge.runtimes.cuda import CudaOptions

CPU = CudaOptions("float32", capture=False, device="cpu")


def test_every_variant_is_compared_with_the_first(tiny_checkpoint: Path) -> None:
    checkpoint = load_checkpoint(str(tiny_checkpoint))
    chosen = ("eager-fp32", "convolution", "tokens")
    variants = [replace(VARIANTS[name], options=CPU) for name in chosen]
    variants.append(replace(VARIANTS["window"], options=replace(CPU, dtype="float16")))
    first, *others, half = time_variants(checkpoint, variants, rounds=2, graphs=("denoiser",))
    assert first.variant == "eager-fp32" and first.db is None and first.edit_p50 is None
    assert 0 < first.step_p50 <= first.step_p95
    assert [row.variant for row in others] == ["convolution", "tokens"]
    for row in others:
        assert row.db is not None and row.db > 90
    assert half.db is not None and 20 < half.db < 80


def test_a_variant_that_fails_does_not_lose_the_others(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load_checkpoint(str(tiny_checkpoint))
    variants = [
        replace(VARIANTS["eager-fp32"], options=CPU),
        replace(VARIANTS["window"], options=replace(CPU, device="abacus")),
    ]
    rows = list(time_variants(checkpoint, variants, rounds=1, graphs=("denoiser",)))
    assert [row.variant for row in rows] == ["eager-fp32"]
    assert "window failed: " in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_device_the_command_says_so(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "cuda.json"
    with pytest.raises(SystemExit) as stopped:
        main([str(tiny_checkpoint), "--variant", "window", "--output", str(output)])
    assert stopped.value.code != 0 and not output.exists()
    assert "no CUDA device" in capsys.readouterr().err
