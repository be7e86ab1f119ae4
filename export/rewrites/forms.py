"""Choose the form of each rewrite for a target, as data. Every form computes the same function.

What each form computes is in `docs/graphs.md`. Which one is fastest depends on the engine: compare two
exports with `moebius-edge profile A --against B`.
"""

from dataclasses import dataclass, replace
from typing import Literal

LocalLambdaForm = Literal["convolution", "window"]
UpsampleForm = Literal["nearest", "phase", "difference", "transposed"]
ShortcutForm = Literal["product", "convolution"]
Layout = Literal["channels_first", "channels_last"]


@dataclass(frozen=True)
class Forms:
    """How the deploy graphs are written."""

    # Pictures [B,C,h,w], fastest in FP32, or tokens [B,h*w,C], fastest in INT8 (`channels_last`).
    layout: Layout = "channels_first"
    # Local-λ: position lambdas by a 15x15 convolution, or relative scores over windows of keys.
    # The window form is used at latent sides up to `window_up_to`, the convolution above.
    window_up_to: int = 64
    window_tile: int = 8  # query columns per tile of the window form
    whole_rows_up_to: int = 16  # up to this side a tile is a whole row: no keys outside the picture
    # Upsamplers: nearest + 3x3 (36 taps per input pixel), four 2x2 phases (16), the same as a transposed
    # convolution, or differences (9).
    upsample: UpsampleForm = "difference"
    # The decoder's are large pictures: phases are as fast there and need 260 MB less memory at 512 pixels.
    decoder_upsample: UpsampleForm = "phase"
    decoder_shortcut: ShortcutForm = "product"  # of blocks that change the number of channels

    def local_lambda(self, size: int) -> LocalLambdaForm:
        """Return the form of Local-λ for latents of `size` x `size`."""
        return "window" if size <= self.window_up_to else "convolution"

    def tile(self, size: int) -> int:
        """Return the query columns per tile of the window form for latents of `size` x `size`."""
        return size if size <= self.whole_rows_up_to or size % self.window_tile else self.window_tile


CPU = Forms()
CPU_INT8 = Forms(layout="channels_last")  # also where ranges are recorded
# GPUs are fast in large convolutions and slow in many small kernels: measured by `export.cuda_check`.
CUDA = Forms(upsample="nearest", decoder_upsample="nearest")
GPU_INT8 = Forms(decoder_upsample="nearest")  # INT8 has ranges for the difference form alone
CUDA_COMPILED = Forms(layout="channels_last", decoder_upsample="nearest")  # where kernels are fused
# What keeps all of a graph on the Neural Engine, by `moebius-edge doctor`: no kernel over 13, no axis over
# 16384, nothing interleaved. A transposed convolution does the decoder's upsampling with fewer
# products; in the denoiser its larger kernels would be 29 MB of FP16.
NEURAL_ENGINE = Forms(upsample="nearest", decoder_upsample="transposed", decoder_shortcut="convolution")
NEURAL_ENGINE_INT8 = replace(NEURAL_ENGINE, upsample="difference")
