"""torch.compile for the trainings: what is compiled, and how no minute of a GPU is spent waiting for it."""

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from moebius_edge.model.blocks import DepthwiseConv, MixFFN, ResidualBlock, TransformerUnit

BLOCKS = (ResidualBlock, TransformerUnit)


def compile_in_place(modules: Iterable[nn.Module]) -> None:
    """Compiles the forward passes of modules for the shapes that they meet; state dicts keep their names.

    Modules of one class and shape share their code. One that cannot be compiled runs as it is, and torch says
    so in a warning.
    """
    torch._dynamo.config.suppress_errors = True  # type: ignore[attr-defined]
    torch._dynamo.config.recompile_limit = 64  # type: ignore[attr-defined]
    for module in modules:
        module.compile(dynamic=False)


def compile_unet(model: nn.Module, by_taps: bool) -> None:
    """Compiles a U-Net block by block: five of a kind are compiled once, in a third of the whole's time."""
    for module in model.modules():
        if isinstance(module, DepthwiseConv):
            module.by_taps = by_taps
    compile_in_place(module for module in model.modules() if isinstance(module, BLOCKS))


def taps_are_faster(channels: int, size: int, batch: int) -> bool:
    """Whether depthwise convolutions by taps make a compiled Mix-FFN's step faster, measured on the GPU."""
    x = torch.randn(batch, channels, size, size, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    seconds = {}
    for by_taps in (False, True):
        ffn = MixFFN(channels).cuda().train()
        ffn.depth_conv.conv.by_taps = by_taps
        ffn.compile(dynamic=False)
        for turn in range(13):
            if turn == 3:  # the first ones compile and warm up
                torch.cuda.synchronize()
                begun = time.monotonic()
            with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                ffn(x).sum().backward()
        torch.cuda.synchronize()
        seconds[by_taps] = time.monotonic() - begun
    print(", ".join(f"by taps {t}: {100 * s:.2f} ms" for t, s in seconds.items()), flush=True)
    return seconds[True] < seconds[False]


class Ahead:
    """A process that runs a command of this program beside a training, for the compiler's cache."""

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", module, *arguments])

    def done(self, seconds: float) -> bool:
        """Whether it has succeeded, waited for at most so long; then it is stopped."""
        try:
            return self.process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            return False
