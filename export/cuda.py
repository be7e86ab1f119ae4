"""Open the runtimes `cuda` and `cuda-compiled`: a bundle's original model, rewritten for a GPU.

The exporter's rewrites are what makes it fast. So they are opened here, and not in `runtimes/cuda.py`.
"""

import torch

from moebius_edge.bundle.folder import Bundle
from moebius_edge.export.onnx.graphs import build_module
from moebius_edge.export.rewrites.forms import CUDA, CUDA_COMPILED
from moebius_edge.runtimes.cuda import CudaOptions, CudaRuntime, check_device
from moebius_edge.runtimes.reference import load_reference


def open_cuda(bundle: Bundle, threads: int | None = None) -> CudaRuntime:
    """Open the model that the bundle was made from, in float16 on the first CUDA device; it is ready at once.

    `threads`: of torch on the CPU. Raises RuntimeUnavailable without a CUDA device, and for weights that are
    not found (`load_reference`).
    """
    return _open(bundle, threads, CudaOptions())


def open_compiled(bundle: Bundle, threads: int | None = None) -> CudaRuntime:
    """Open as `open_cuda` does, compiled: a step takes two thirds of the time.

    The first result comes after minutes.
    """
    return _open(bundle, threads, CudaOptions(channels_last=True, compiled=True))


def _open(bundle: Bundle, threads: int | None, options: CudaOptions) -> CudaRuntime:
    check_device(options.device)
    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = load_reference(bundle)
    forms = CUDA_COMPILED if options.compiled else CUDA
    modules = {name: build_module(name, checkpoint, forms) for name in bundle.manifest.graphs}
    return CudaRuntime(modules, bundle.manifest.graphs, options)
