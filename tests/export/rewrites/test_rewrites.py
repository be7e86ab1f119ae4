"""Every rewrite alone equals the operation that it replaces."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from moebius_edge.checkpoints.synthetic import fill_by_rule
from moebius_edge.export.rewrites.fold import affine_after, affine_before, fold_batch_norm
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.export.rewrites.interactive_lambda import DeployInteractiveLambda
from moebius_edge.export.rewrites.local_lambda import (
    ConvolutionLocalLambda,
    WindowLocalLambda,
    deploy_local_lambda,
)
from moebius_edge.export.rewrites.upsample import UPSAMPLERS, deploy_upsample
from moebius_edge.model.blocks import Upsample
from moebius_edge.model.lambdas import InteractiveLambda, LocalLambda
from tests.export.conftest import random, relative_error, run

TOLERANCE = 1e-5  # of the standard deviation; FP32 rounding
HEADS, CHANNELS = 4, 32


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    fill_by_rule(layer)
    return layer.eval()


@pytest.mark.parametrize("groups", [1, 8])
def test_batch_norm_folds_into_the_convolution_before_it(groups: int) -> None:
    conv, bn = nn.Conv2d(8, 16, 3, padding=1, groups=groups, bias=False), norm(16)
    x = random(2, 8, 6, 6)
    assert relative_error(run(fold_batch_norm(conv, bn), x), run(nn.Sequential(conv, bn), x)) < TOLERANCE


def test_affine_maps_fold_on_both_sides_of_a_pointwise_convolution() -> None:
    conv, scale, shift = nn.Conv2d(8, 8, 1), random(8, seed=3), random(8, seed=4)
    x = random(2, 8, 6, 6)
    mapped = scale[:, None, None] * x + shift[:, None, None]
    assert relative_error(run(affine_before(conv, scale, shift), x), run(conv, mapped)) < TOLERANCE
    after = scale[:, None, None] * run(conv, x) + shift[:, None, None]
    folded = affine_after(conv, scale.double(), shift.double())
    assert relative_error(run(folded, x), after) < TOLERANCE


def test_an_affine_map_does_not_fold_into_a_padded_convolution() -> None:
    with pytest.raises(ValueError, match="1x1"):
        affine_before(nn.Conv2d(4, 4, 3, padding=1), torch.ones(4), torch.ones(4))


@pytest.mark.parametrize("form", list(UPSAMPLERS))
@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 7), width=st.integers(1, 7), seed=st.integers(0, 99))
def test_upsamplers_equal_nearest_and_convolution(form: str, height: int, width: int, seed: int) -> None:
    reference = Upsample(4)
    fill_by_rule(reference)
    x = random(2, 4, height, width, seed=seed)
    upsampler = deploy_upsample(reference.conv, form)  # type: ignore[arg-type]
    assert relative_error(run(upsampler, x), run(reference, x)) < TOLERANCE


def test_the_difference_form_has_as_many_weights_as_the_convolution() -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1)
    sizes = {
        form: sum(t.numel() for t in deploy_upsample(conv, form).state_dict().values()) for form in UPSAMPLERS
    }
    assert sizes["difference"] == sizes["nearest"]
    assert sizes["phase"] == sizes["transposed"] == 8 * 8 * 16 + 8


def local_lambda() -> LocalLambda:
    source = LocalLambda(CHANNELS, HEADS, 15)
    fill_by_rule(source)
    return source.eval()


@pytest.mark.parametrize(("size", "tile"), [(4, 4), (8, 8), (16, 8), (16, 4), (24, 8)])
def test_the_window_form_equals_local_lambda(size: int, tile: int) -> None:
    source, scale, shift = local_lambda(), random(CHANNELS, seed=5), random(CHANNELS, seed=6)
    x = random(2, CHANNELS, size, size)
    expected = run(source, scale[:, None, None] * x + shift[:, None, None])
    found = run(WindowLocalLambda(source, size, scale, shift, tile), tokens(x))
    assert relative_error(found, tokens(expected)) < TOLERANCE


@pytest.mark.parametrize("size", [4, 16])
def test_the_convolution_form_equals_local_lambda(size: int) -> None:
    source, scale, shift = local_lambda(), random(CHANNELS, seed=5), random(CHANNELS, seed=6)
    x = random(2, CHANNELS, size, size)
    expected = run(source, scale[:, None, None] * x + shift[:, None, None])
    found = run(ConvolutionLocalLambda(source, size, scale, shift), tokens(x))
    assert relative_error(found, tokens(expected)) < TOLERANCE


def test_forms_choose_by_size() -> None:
    source, one, zero = local_lambda(), torch.ones(CHANNELS), torch.zeros(CHANNELS)
    forms = Forms(window_up_to=32)
    assert isinstance(deploy_local_lambda(source, 64, one, zero, forms), ConvolutionLocalLambda)
    tiled = deploy_local_lambda(source, 32, one, zero, forms)
    rows = deploy_local_lambda(source, 16, one, zero, forms)
    assert isinstance(tiled, WindowLocalLambda)
    assert isinstance(rows, WindowLocalLambda)
    assert (tiled.tile, rows.tile) == (8, 16)


def test_a_tile_must_divide_the_side() -> None:
    with pytest.raises(ValueError, match="tile 5 must divide the latent side 16"):
        WindowLocalLambda(local_lambda(), 16, torch.ones(CHANNELS), torch.zeros(CHANNELS), 5)


@pytest.mark.parametrize("batch", [1, 2])
def test_interactive_lambda_with_constant_categories(batch: int) -> None:
    source = InteractiveLambda(CHANNELS, HEADS, context_dim=12, positions=36, tokens=10)
    fill_by_rule(source)
    source.eval()
    context, scale, shift = random(2, 10, 12, seed=7), random(CHANNELS, seed=8), random(CHANNELS, seed=9)
    x = random(batch, CHANNELS, 6, 6)
    normed = (scale[:, None, None] * x + shift[:, None, None]).expand(2, -1, -1, -1)
    expected = run(source, normed, context)
    with torch.no_grad():
        deployed = DeployInteractiveLambda(source, context, scale, shift)
    assert relative_error(run(deployed, tokens(x)), tokens(expected)) < TOLERANCE
