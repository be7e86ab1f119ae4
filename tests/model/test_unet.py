"""The reference against tensors of the published model."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from moebius_edge.checkpoints.synthetic import fill_by_rule
from moebius_edge.model.config import CONFIGS, MoebiusConfig
from moebius_edge.model.unet import Moebius

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = MoebiusConfig(
    block_out_channels=(32, 64, 128), latent_size=16, embedding_dim=48, cross_attention_dim=24, num_heads=8
)
TOLERANCE = 1e-4  # of the golden tensor's standard deviation


def filled(config: MoebiusConfig) -> Moebius:
    with torch.device("meta"):
        model = Moebius(config)
    model.to_empty(device="cpu")
    fill_by_rule(model)
    return model.eval()


def predict(model: Moebius, sample: Tensor, timestep: float) -> Tensor:
    prompts = torch.stack([torch.arange(10, 20), torch.arange(10)])
    with torch.inference_mode():
        noise: Tensor = model(sample.repeat(2, 1, 1, 1), torch.full((2,), timestep), prompts)
    return noise


def error(found: Tensor, golden: Tensor) -> float:
    return float((found - golden).abs().max() / golden.std())


@pytest.fixture(scope="module")
def small() -> Moebius:
    return filled(SMALL)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "unet_small.safetensors")


@pytest.mark.parametrize("timestep", [900, 450, 0])
def test_small_model_equals_the_published_code(
    small: Moebius, golden: dict[str, Tensor], timestep: int
) -> None:
    noise = predict(small, golden["sample"], timestep)
    assert error(noise, golden[f"noise_t{timestep}"]) < TOLERANCE


def test_every_stage_equals_the_published_code(small: Moebius, golden: dict[str, Tensor]) -> None:
    outputs: list[Tensor] = []
    stages = [*small.diff_model.down_blocks, *small.diff_model.up_blocks]
    hooks = [
        stage.register_forward_hook(
            lambda _module, _args, out: outputs.append(out[-1] if isinstance(out, list) else out)
        )
        for stage in stages
    ]
    predict(small, golden["sample"], 900)
    for hook in hooks:
        hook.remove()
    errors = {f"block{i}": error(out, golden[f"block{i}"]) for i, out in enumerate(outputs)}
    assert len(errors) == 6
    assert max(errors.values()) < TOLERANCE, errors


def test_every_norm_has_the_published_epsilon(small: Moebius) -> None:
    """Small enough for the golden tensors to miss a wrong one: they allow for rounding."""
    found: dict[tuple[str, float], list[str]] = {}
    for name, module in small.named_modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.modules.batchnorm._BatchNorm):
            unit = name.rpartition(".")[0].endswith(tuple(f"attentions.{i}" for i in range(3)))
            expected = 1e-6 if unit else 1e-5
            if module.eps != expected:
                found.setdefault((type(module).__name__, module.eps), []).append(name)
    assert not found, "these norms have another eps than the published code"


def test_training_mode_computes_the_same_position_lambdas(small: Moebius) -> None:
    conv = small.diff_model.down_blocks[0].attentions[0].transformer_blocks[0].attn1.pos_conv
    values = torch.randn(2, 1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = conv(values)
        conv.train()
        planar = conv(values)
        conv.eval()
    assert error(planar, plain) < 1e-5


def test_another_latent_size_is_refused_in_words(small: Moebius) -> None:
    with pytest.raises(ValueError, match=r"\[1, 9, 8, 8\].*expected \[B, 9, 16, 16\]"):
        small(torch.zeros(1, 9, 8, 8), torch.zeros(1), torch.zeros(1, 10, dtype=torch.int64))


@pytest.mark.parametrize(
    "change", [{"block_out_channels": (33, 64, 128)}, {"latent_size": 18}, {"latent_size": 0}]
)
def test_impossible_configurations_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be a"):
        MoebiusConfig(**change)  # type: ignore[arg-type]


@pytest.mark.full
def test_full_model_equals_the_published_code() -> None:
    golden = load_file(GOLDEN / "unet_full.safetensors")
    noise = predict(filled(CONFIGS["moebius"]), golden["sample"], 900)
    assert error(noise, golden["noise_t900"]) < TOLERANCE
