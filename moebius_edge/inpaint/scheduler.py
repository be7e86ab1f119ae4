"""DDIM (Song et al., arXiv 2010.02502), as the published loop uses it: numpy only, eta = 0, no clipping.

Legend: paper symbol -> name here
    β_t              beta            variance of the noise added at training step t
    α_t  (eq. 4)     alpha_bar       Π_{s<=t} (1 - β_s); Ho et al. (arXiv 2006.11239) write ᾱ_t
    x_t              latents
    ε_θ(x_t)         noise           the guided output of the denoiser
    τ_i              timesteps       the sub-sequence of training steps that the loop visits
"""

import math
from dataclasses import dataclass

import numpy as np

from moebius_edge.common.errors import InvalidInput


@dataclass(frozen=True)
class SchedulerConfig:
    """The training noise schedule. The defaults are the published model's."""

    beta_start: float = 0.00085  # β of the first training step
    beta_end: float = 0.012  # β of the last one
    beta_schedule: str = "scaled_linear"  # sqrt(β) is linear in t; the only one known
    train_timesteps: int = 1000
    timestep_spacing: str = "leading"  # 0, r, 2r, ... with r = train_timesteps // steps; the only one known
    prediction: str = "epsilon"  # the model predicts the noise; the only one known

    def __post_init__(self) -> None:
        known = {"beta_schedule": "scaled_linear", "timestep_spacing": "leading", "prediction": "epsilon"}
        for name, value in known.items():
            if getattr(self, name) != value:
                raise InvalidInput(f"scheduler {name} is {getattr(self, name)!r}; only {value!r} is known")
        if not 0.0 < self.beta_start <= self.beta_end < 1.0 or self.train_timesteps < 1:
            raise InvalidInput("scheduler: expected 0 < beta_start <= beta_end < 1 and train_timesteps >= 1")


@dataclass(frozen=True)
class StepCoefficients:
    """One step of the loop: latents <- a * latents + b * noise, with noise predicted at `timestep`."""

    timestep: int
    a: float
    b: float


@dataclass(frozen=True)
class Start:
    """How the loop starts: latents = sqrt_alpha_bar * image latents + sqrt_one_minus_alpha_bar * noise.

    At strength 1 this is (0, 1): pure noise, as published, although alpha_bar is not quite 0 there.
    """

    timestep: int
    sqrt_alpha_bar: float
    sqrt_one_minus_alpha_bar: float


class DDIM:
    """Deterministic DDIM: which timesteps to visit and what each does to the latents. Computed in float64."""

    def __init__(self, config: SchedulerConfig | None = None) -> None:
        self.config = config = config or SchedulerConfig()
        # 1. sqrt(β_t) = linear from sqrt(beta_start) to sqrt(beta_end)
        ends = (math.sqrt(config.beta_start), math.sqrt(config.beta_end))
        root = np.linspace(*ends, config.train_timesteps)
        # 2. α_t = Π_{s<=t} (1 - β_s)
        self.alpha_bar = np.cumprod(1.0 - root**2)

    def timesteps(self, steps: int, strength: float) -> tuple[int, ...]:
        """The training steps to visit, falling: the last int(steps * strength) of `steps`.

        20 steps at strength 0.99 run 19 of them: 900, 850, ..., 0. Raises InvalidInput when `steps` is not
        1 to train_timesteps, `strength` not above 0 and at most 1, or nothing is left to run.
        """
        limit = self.config.train_timesteps
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 1 <= steps <= limit:
            raise InvalidInput(f"steps is {steps!r}; expected a whole number from 1 to {limit}")
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 < strength <= 1:
            raise InvalidInput(f"strength is {strength!r}; expected a number above 0 and at most 1")
        run = int(steps * strength)  # rounded down, in floating point, as published
        if run == 0:
            raise InvalidInput(
                f"{steps} steps at strength {strength} leave none to run; use more steps or strength 1.0"
            )
        ratio = limit // steps
        return tuple(i * ratio for i in reversed(range(run)))

    def coefficients(self, steps: int, strength: float) -> tuple[StepCoefficients, ...]:
        """The loop as numbers: per step t -> p = t - ratio, latents <- a * latents + b * noise."""
        timesteps = self.timesteps(steps, strength)
        ratio = self.config.train_timesteps // steps
        result = []
        for timestep in timesteps:
            # 1. α_t and α_p; before the first training step there is no noise: α = 1
            alpha = float(self.alpha_bar[timestep])
            previous = float(self.alpha_bar[timestep - ratio]) if timestep >= ratio else 1.0
            # 2. eq. 12, first term: "predicted x_0" = (x_t - sqrt(1 - α_t) ε) / sqrt(α_t), times sqrt(α_p)
            a = math.sqrt(previous / alpha)
            # 3. eq. 12 with σ = 0: + sqrt(1 - α_p) ε, the "direction pointing to x_t"; ε collected
            b = math.sqrt(1.0 - previous) - a * math.sqrt(1.0 - alpha)
            result.append(StepCoefficients(timestep, a, b))
        return tuple(result)

    def start(self, steps: int, strength: float) -> Start:
        """Where the loop starts (eq. 4: x_t = sqrt(α_t) x_0 + sqrt(1 - α_t) ε; pure noise at strength 1)."""
        first = self.timesteps(steps, strength)[0]
        if strength == 1:
            return Start(first, 0.0, 1.0)
        alpha = float(self.alpha_bar[first])
        return Start(first, math.sqrt(alpha), math.sqrt(1.0 - alpha))
