"""Fill holes with the FP32 PyTorch model, in batches: for sample sheets and for the evaluation."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.known_solvers import find_solver, known_solvers
from moebius_edge.inpaint.loop import continued
from moebius_edge.inpaint.noise import PortableNoise, Stream
from moebius_edge.inpaint.solving.protocol import NoiseSchedule, Solver
from moebius_edge.inpaint.solving.table import Step
from moebius_edge.model.config import MoebiusConfig
from moebius_edge.training.latents import latent_mask

# What the loop starts from, under noise: the latents around the hole, continued into it, as in an edit; those
# of the picture with a grey hole; or nothing.
STARTS = ("harmonic", "masked", "noise")
SOLVERS = tuple(known_solvers())


@dataclass(frozen=True)
class Sampling:
    """How holes are filled. The defaults are those of an edit."""

    steps: int = 20
    guidance: float = 2.0  # 1: the conditional prediction alone, in half the time
    strength: float = 0.99  # how much noise the loop starts with, as the solver means it
    seed: int = 0
    noise_offset: float = 0.0357  # standard deviation of the noise shared by a latent plane
    start: str = "harmonic"  # one of STARTS; strength 1 is always "noise"
    solver: str = "ddim"  # a name of `known_solvers`, for the published noise schedule

    def table(self) -> tuple[Step, ...]:
        """Return the loop's steps. Raises `InvalidInput` for an unknown start or solver."""
        if self.start not in STARTS:
            raise InvalidInput(f"there is no start {self.start!r}; known are {', '.join(STARTS)}")
        return self._solver().coefficients(self.steps, self.strength)

    def scales(self) -> tuple[float, float]:
        """Return how much of the picture and of the noise is in the first latents.

        They are sqrt(alpha_bar) and sqrt(1 - alpha_bar) of the first timestep; 0 and 1 for a start from
        noise.
        """
        if self.start == "noise":
            return 0.0, 1.0
        start = self._solver().start(self.steps, self.strength)
        return start.sqrt_alpha_bar, start.sqrt_one_minus_alpha_bar

    def _solver(self) -> Solver:
        return find_solver(self.solver, NoiseSchedule())


# How a checkpoint is judged, and what an edit is to become: 8 denoiser passes instead of 38.
FAST = Sampling(steps=8, guidance=1.0, solver="dpm")


def guided_noise(model: nn.Module, sample: Tensor, timestep: int, guidance: float) -> Tensor:
    """Return the guided noise u + g (c - u), [B,4,h,w], for `sample` [B,9,h,w]; g = `guidance`.

    At g = 1 that is c: u is not computed.
    """
    count, tokens = len(sample), MoebiusConfig.prompt_tokens
    both = 1 if guidance == 1 else 2
    time = torch.full((both * count,), timestep, device=sample.device)
    prompts = torch.arange(both * tokens, device=sample.device).reshape(both, tokens)
    predicted: Tensor = model(sample.repeat(both, 1, 1, 1), time, prompts.repeat_interleave(count, 0))
    if both == 1:
        return predicted
    conditional, unconditional = predicted.chunk(2)
    return unconditional + guidance * (conditional - unconditional)


class Filler:
    """Photos with holes, encoded once, to be filled once per seed.

    What is under a mask is thrown away first, so nothing of it can leak into the result.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: nn.Module,
        vae: AutoencoderKL,
        photos: Tensor,
        masks: Tensor,
        options: Sampling,
        first_place: int = 0,
    ) -> None:
        """Encode photos [B,3,H,W] in [-1,1] with masks [B,1,H,W] (1 = hole).

        Model and autoencoder are in evaluation mode. `first_place`: the first photo's number, which with the
        seed decides its noise.
        """
        self.model, self.vae, self.photos, self.masks = model, vae, photos, masks
        self.options, self.first_place = options, first_place
        self.table = options.table()
        self.picture_scale, self.noise_scale = options.scales()
        self.scaling = float(vae.config.scaling_factor)
        self.masked = self._encode(photos * (1 - masks))
        self.mask = latent_mask(masks, photos.shape[-1] // self.masked.shape[-1])
        self.begun = self.masked
        if options.start == "harmonic" and self.picture_scale > 0:
            known, holes = self.masked.numpy(force=True), self.mask.numpy(force=True)
            begun = [continued(known[i : i + 1], holes[i : i + 1]) for i in range(len(known))]
            self.begun = torch.from_numpy(np.concatenate(begun)).to(self.masked.device)

    def _encode(self, pictures: Tensor) -> Tensor:
        return torch.cat([self.vae.encode(p[None]).latent_dist.mean for p in pictures]) * self.scaling

    def noise(self, seed: int) -> Tensor:
        """Return the portable loop's noise [B,4,h,w], a stream of its own for every photo and seed."""
        _, channels, height, width = self.masked.shape
        drawn = []
        for place in range(self.first_place, self.first_place + len(self.masked)):
            source = PortableNoise((place << 32) + seed)
            planes = source.normal(Stream.LATENTS, (channels, height, width))
            offset = source.normal(Stream.OFFSET, (channels, 1, 1))
            drawn.append(torch.from_numpy(planes + self.options.noise_offset * offset))
        return torch.stack(drawn).to(self.masked.device)

    def __call__(self, seed: int) -> Tensor:
        """Return the photos with their holes filled, [B,3,H,W] in [-1,1]."""
        return self.photos * (1 - self.masks) + self.decoded(seed) * self.masks

    @torch.inference_mode()
    def decoded(self, seed: int) -> Tensor:
        """Return the model's whole pictures, [B,3,H,W] in [-1,1]."""
        latents = self.picture_scale * self.begun + self.noise_scale * self.noise(seed)
        estimate = torch.zeros_like(latents)
        for step in self.table:
            sample = torch.cat([latents, self.mask, self.masked], dim=1)
            noise = guided_noise(self.model, sample, step.timestep, self.options.guidance)
            moved = step.a * latents + step.b * noise + step.c * estimate
            estimate = step.p * latents + step.q * noise
            latents = moved
        return torch.cat([self.vae.decode(z[None] / self.scaling).sample for z in latents]).clamp(-1, 1)


def fill(
    model: nn.Module, vae: AutoencoderKL, photos: Tensor, masks: Tensor, sampling: Sampling | None = None
) -> Tensor:
    """Fill photos [B,3,H,W] in [-1,1] in the holes of `masks` [B,1,H,W] (1 = hole); the rest stays as it was.

    `model` and `vae` are in evaluation mode. Each photo has its own noise, from the seed and its place.
    """
    options = sampling or Sampling()
    return Filler(model, vae, photos, masks, options)(options.seed)


@torch.inference_mode()
def guidance_effect(model: nn.Module, vae: AutoencoderKL, photos: Tensor, masks: Tensor) -> dict[int, float]:
    """Return std(cond - uncond) inside the holes at t = 900 and 100, by timestep.

    The predicted noise itself has a standard deviation of about 1.
    """
    filler = Filler(model, vae, photos, masks, Sampling(start="masked"))
    image = filler._encode(photos)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    effect = {}
    for timestep in (900, 100):
        alpha = float(NoiseSchedule().alpha_bar()[timestep])
        noisy = alpha**0.5 * image + (1 - alpha) ** 0.5 * noise
        sample = torch.cat([noisy, filler.mask, filler.masked], dim=1)
        # The guided noise is u + g (c - u): its difference between g = 1 and g = 0 is c - u.
        conditional, unconditional = (guided_noise(model, sample, timestep, g) for g in (1.0, 0.0))
        change = (conditional - unconditional)[filler.mask.expand_as(image) > 0.5]
        effect[timestep] = float(change.std())
    return effect
