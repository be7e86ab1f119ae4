"""The whole deploy graphs against the reference graphs."""

import copy

import pytest
import torch

from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.export.rewrites.autoencoder import DeployDecoder, DeployEncoder
from moebius_edge.export.rewrites.channels_first import PictureTransformerUnit
from moebius_edge.export.rewrites.deploy import DeployDenoiser
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.export.rewrites.interactive_lambda import branch_contexts
from moebius_edge.model.graphs import Decoder, Denoiser, Encoder
from moebius_edge.model.unet import Moebius
from tests.export.conftest import denoiser_inputs, random, relative_error, run

WANTED = 1e-4  # of the output's standard deviation

FORMS = {
    "ort": Forms(),
    "phase": Forms(upsample="phase"),
    "channels last": Forms(layout="channels_last"),
    "convolution": Forms(window_up_to=0, upsample="nearest"),
}


@pytest.mark.parametrize("forms", FORMS.values(), ids=FORMS.keys())
def test_the_denoiser_equals_the_reference(model: Moebius, forms: Forms) -> None:
    inputs = denoiser_inputs(model.config.latent_size)
    with torch.no_grad():
        deployed = DeployDenoiser(model, forms).eval()
    assert relative_error(run(deployed, *inputs), run(Denoiser(model), *inputs)) < WANTED


def test_in_double_precision_only_the_stored_weights_differ(model: Moebius) -> None:
    """The rewrites are exact: what is left is the rounding of the folded weights to FP32."""
    inputs = tuple(t.double() for t in denoiser_inputs(model.config.latent_size))
    with torch.no_grad():
        deployed = DeployDenoiser(model, Forms()).eval()
    reference = Denoiser(model)
    found = run(deployed.double(), *inputs)
    expected = run(reference.double(), *inputs)
    model.float()
    assert relative_error(found, expected) < 5e-6  # folded weights rounded at 6e-8, through 45 layers


def test_guidance_mixes_the_branches_as_published(model: Moebius) -> None:
    with torch.no_grad():
        deployed = DeployDenoiser(model, Forms()).eval()
    inputs = denoiser_inputs(model.config.latent_size)[:-1]
    u, c, guided = (run(deployed, *inputs, torch.tensor([g])) for g in (0.0, 1.0, 3.5))
    sample, rows = torch.cat(inputs[:3], dim=1), torch.arange(20).reshape(2, 10)
    conditional, unconditional = (run(model, sample, inputs[3], row[None]) for row in rows)
    assert relative_error(conditional, unconditional) > 1e-2, "this model cannot tell the branches apart"
    assert relative_error(u, unconditional) < WANTED, "guidance 0 is not the unconditional branch"
    assert relative_error(c, conditional) < WANTED, "guidance 1 is not the conditional branch"
    assert relative_error(guided, u + 3.5 * (c - u)) < 1e-5, "guidance g is not u + g (c - u)"


def test_the_reference_is_left_as_it_was(model: Moebius) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        DeployDenoiser(model, Forms())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("forms", FORMS.values(), ids=FORMS.keys())
def test_the_denoiser_keeps_nothing_that_it_does_not_use(model: Moebius, forms: Forms) -> None:
    with torch.no_grad():
        deployed = DeployDenoiser(copy.deepcopy(model), forms).eval()
    tensors = dict(deployed.named_parameters()) | dict(deployed.named_buffers())
    weights = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    for weight in weights.values():
        weight.requires_grad_(True)
    deployed(*denoiser_inputs(model.config.latent_size)).sum().backward()
    assert [name for name, weight in weights.items() if weight.grad is None] == []


def test_a_unit_equals_the_reference_where_hardly_anything_varies(model: Moebius) -> None:
    """At a variance as small as the norm's epsilon, another epsilon is another function."""
    unet, size = model.diff_model, model.config.latent_size
    unit = unet.down_blocks[0].attentions[0]
    context = branch_contexts(model.embedding_layer, unet.encoder_hid_proj, model.config.prompt_tokens)
    x = 1e-3 * random(2, model.config.block_out_channels[0], size, size)
    with torch.no_grad():
        deployed = PictureTransformerUnit(unit, context, size, Forms()).eval()
    assert relative_error(run(deployed, x), run(unit, x, context.float())) < WANTED


@pytest.mark.parametrize("form", ["nearest", "phase", "difference"])
def test_the_decoder_equals_the_reference(checkpoint: Checkpoint, form: str) -> None:
    latents = 0.3 * random(1, 4, 4, 4)
    with torch.no_grad():
        deployed = DeployDecoder(checkpoint.vae, Forms(decoder_upsample=form))  # type: ignore[arg-type]
    expected = run(Decoder(checkpoint.vae), latents)
    assert float(expected.std()) > 0.05
    assert relative_error(run(deployed, latents), expected) < WANTED
    assert type(checkpoint.vae.decoder.up_blocks[0].upsamplers[0]).__name__ == "Upsample2D"


def test_the_encoder_equals_the_reference(checkpoint: Checkpoint) -> None:
    image = random(1, 3, 8, 8).clamp(-1, 1)
    with torch.inference_mode():
        found, expected = DeployEncoder(checkpoint.vae)(image), Encoder(checkpoint.vae)(image)
    for mine, theirs in zip(found, expected, strict=True):
        assert relative_error(mine, theirs) < WANTED


def test_the_encoder_bounds_the_log_variance_as_the_reference(checkpoint: Checkpoint) -> None:
    vae = copy.deepcopy(checkpoint.vae)
    with torch.no_grad():
        vae.quant_conv.bias[4:] = torch.tensor([-90.0, 90.0, -90.0, 90.0])  # the bounds are -30 and 20
    image = random(1, 3, 8, 8).clamp(-1, 1)
    with torch.inference_mode():
        found, expected = DeployEncoder(vae)(image)[1], Encoder(vae)(image)[1]
    torch.testing.assert_close(found, expected)
    bounds = vae.config.scaling_factor * torch.exp(torch.tensor([-15.0, 10.0, -15.0, 10.0]))
    torch.testing.assert_close(found.mean((0, 2, 3)), bounds)
