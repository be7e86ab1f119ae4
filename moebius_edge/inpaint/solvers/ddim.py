"""DDIM (Song et al., arXiv 2010.02502), as the published loop uses it: numpy only, eta = 0, no clipping.

Legend: paper symbol -> name here
    β_t              beta            variance of the noise added at training step t
    α_t  (eq. 4)     alpha_bar       Π_{s<=t} (1 - β_s); Ho et al. (arXiv 2006.11239) write ᾱ_t
    x_t              latents
    ε_θ(x_t)         noise           the guided output of the denoiser
    τ_i              timesteps       the sub-sequence of training steps that the loop visits: 0, r, 2r, ...
                                     with r = train_timesteps // steps ("leading" spacing)
"""

import math

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.solving.protocol import NoiseSchedule, check_length
from moebius_edge.inpaint.solving.table import Start, Step


class DDIM:
    """Deterministic DDIM: which timesteps to visit and what each does to the latents. Computed in float64."""

    name = "ddim"

    def __init__(self, noise: NoiseSchedule | None = None) -> None:
        """`noise`: how the model was trained; None: as the published one."""
        self.noise = noise or NoiseSchedule()
        self.alpha_bar = self.noise.alpha_bar()

    def timesteps(self, steps: int, strength: float) -> tuple[int, ...]:
        """Choose the training steps to visit, falling: the last int(steps * strength) of `steps`.

        20 steps at strength 0.99 run 19 of them: 900, 850, ..., 0. Raises InvalidInput when `steps` is not
        1 to train_timesteps, `strength` not above 0 and at most 1, or nothing is left to run.
        """
        check_length(steps, strength, self.noise.train_timesteps)
        run = int(steps * strength)  # rounded down, in floating point, as published
        if run == 0:
            raise InvalidInput(
                f"{steps} steps at strength {strength} leave none to run; use more steps or strength 1.0"
            )
        ratio = self.noise.train_timesteps // steps
        return tuple(i * ratio for i in reversed(range(run)))

    def coefficients(self, steps: int, strength: float) -> tuple[Step, ...]:
        """Compute the loop as numbers: per step t -> p = t - ratio, latents <- a * latents + b * noise.

        Raises as `timesteps` does.
        """
        timesteps = self.timesteps(steps, strength)
        ratio = self.noise.train_timesteps // steps
        result = []
        for timestep in timesteps:
            # 1. α_t and α_p; before the first training step there is no noise: α = 1
            alpha = float(self.alpha_bar[timestep])
            previous = float(self.alpha_bar[timestep - ratio]) if timestep >= ratio else 1.0
            # 2. eq. 12, first term: "predicted x_0" = (x_t - sqrt(1 - α_t) ε) / sqrt(α_t), times sqrt(α_p)
            a = math.sqrt(previous / alpha)
            # 3. eq. 12 with σ = 0: + sqrt(1 - α_p) ε, the "direction pointing to x_t"; ε collected
            b = math.sqrt(1.0 - previous) - a * math.sqrt(1.0 - alpha)
            result.append(Step(timestep, a, b))
        return tuple(result)

    def start(self, steps: int, strength: float) -> Start:
        """Say where the loop starts (eq. 4: x_t = sqrt(α_t) x_0 + sqrt(1 - α_t) ε; pure noise at strength 1).

        Raises as `timesteps` does.
        """
        first = self.timesteps(steps, strength)[0]
        if strength == 1:
            return Start(first, 0.0, 1.0)
        alpha = float(self.alpha_bar[first])
        return Start(first, math.sqrt(alpha), math.sqrt(1.0 - alpha))
