"""Put latents under noise: what the U-Net sees in training, and the noise that it is to find."""

from dataclasses import dataclass

import torch
from torch import Tensor

from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.model.config import MoebiusConfig
from moebius_edge.training.latents import Examples


@dataclass(frozen=True)
class NoisingOptions:
    """How examples are put under noise."""

    unconditional: float = 0.05  # share of the examples with the unconditional prompt
    context_noise: float = 0.7  # noise on those examples' masked latents, in standard deviations
    noise_offset: float = 0.0357  # standard deviation of the noise shared by a latent plane
    start_from: float = 0.65  # of the timesteps; from there on, below where nano's edits start,
    start_share: float = 0.5  # of the examples look like the start of the loop: see `Noising.diffuse`,
    pure_share: float = 0.2  # and of these so many like that at strength 1: pure noise


@dataclass(frozen=True)
class Noisy:
    """What the U-Net sees, [B,9,h,w], [B] and [B,10], and the noise [B,4,h,w] it is to find."""

    sample: Tensor
    time: Tensor
    prompts: Tensor
    noise: Tensor

    def split(self, parts: int) -> list["Noisy"]:
        """Split the batch into so many parts, or fewer if it is smaller."""
        chunks = (value.chunk(parts) for value in (self.sample, self.time, self.prompts, self.noise))
        return [Noisy(*values) for values in zip(*chunks, strict=True)]


class Noising:
    """A seeded source of timesteps, noise and prompts for examples."""

    def __init__(self, options: NoisingOptions, seed: int, device: str) -> None:
        self.options, self.device = options, device
        self.generator = torch.Generator(device).manual_seed(seed)
        self.alpha_bar = torch.tensor(DDIM().alpha_bar, dtype=torch.float32, device=device)

    def draw(self, examples: Examples) -> Noisy:
        """Put examples under noise at random timesteps, with random prompts.

        Unconditional examples see their context under noise: their branch learns to lean less on the
        context's detail, and guidance then moves away from that, towards what surrounds the hole.
        """
        options, count = self.options, len(examples.image)
        draws = torch.rand((6, count), generator=self.generator, device=self.device)
        # The larger of two draws in one case of three: more of the noisy end.
        late = torch.where(draws[2] < 1 / 3, torch.maximum(draws[0], draws[1]), draws[0])
        time = (late * len(self.alpha_bar)).long()
        noise = self._normal(*examples.image.shape)
        noise = noise + options.noise_offset * self._normal(count, 4, 1, 1)
        starts = (late >= options.start_from) & (draws[4] < options.start_share)
        latents, noise = self.diffuse(examples, time, noise, starts, draws[5] < options.pure_share)
        free = (draws[3] < options.unconditional).long()
        haze = options.context_noise * free[:, None, None, None] * self._normal(*noise.shape)
        sample = torch.cat([latents, examples.mask, examples.masked + haze], dim=1)
        tokens = MoebiusConfig.prompt_tokens  # the second half of the table is the unconditional prompt's
        prompts = torch.arange(tokens, device=self.device)[None] + tokens * free[:, None]
        return Noisy(sample, time, prompts, noise)

    def diffuse(
        self, examples: Examples, time: Tensor, noise: Tensor, starts: Tensor, pure: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return noisy latents [B,4,h,w], and the noise that leads from them to the photo.

        `time` [B], `noise` [B,4,h,w]; `starts` and `pure` are bools [B]. Those that `starts` picks know, like
        the loop's start, nothing of what belongs into the hole: they are the latents around it, continued
        into it, under noise, or pure noise (strength 1) where `pure`. Without them a model that has seen
        little reads the hole's colour off the noise, not off the surroundings.
        """
        alpha = self.alpha_bar[time][:, None, None, None]
        plain = alpha.sqrt() * examples.image + (1 - alpha).sqrt() * noise
        removal = alpha.sqrt() * examples.begun + (1 - alpha).sqrt() * noise
        start = torch.where(pure[:, None, None, None], noise, removal)
        latents = torch.where(starts[:, None, None, None], start, plain)
        return latents, (latents - alpha.sqrt() * examples.image) / (1 - alpha).sqrt()

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)
