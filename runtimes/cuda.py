"""A bundle's model on a CUDA device through torch: deploy modules in half precision, a step as a CUDA graph.

The latents stay on the device from the first step to the last: a step executes one row of the solver's table
there (`moebius_edge.inpaint.solving.table`), with the row's numbers as inputs. With b = 1 and the others 0
the same step gives the noise alone.
"""

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from moebius_edge.bundle.manifest import GraphSpec
from moebius_edge.common.errors import RuntimeUnavailable
from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.solving.table import COEFFICIENTS, Step, as_array
from moebius_edge.runtimes.inputs import check_inputs, graph_spec

WARM_UP = 3  # runs before capture: cuDNN and cuBLAS choose their kernels and take their memory then
NOISE_ALONE = as_array([Step(0, 0.0, 1.0)])[0, 1:]


@dataclass(frozen=True)
class CudaOptions:
    """How the modules run."""

    dtype: Literal["float16", "bfloat16", "float32"] = "float16"  # of weights and activations
    channels_last: bool = False  # pictures as [B,h,w,C] in memory, as tensor cores read them
    compiled: bool = False  # by torch.compile: minutes at the first run, fewer and larger kernels
    capture: bool = True  # replay each graph as a CUDA graph: no launch waits for Python
    device: str = "cuda"


class Update(nn.Module):
    """One step of the loop: the denoiser, and a row of the solver's table."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self,
        latents: Tensor,
        mask: Tensor,
        masked_latents: Tensor,
        timestep: Tensor,
        guidance: Tensor,
        estimate: Tensor,
        coefficients: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Compute the next latents and the next estimate of the clean ones, both [1,4,h,w].

        Shapes of the denoiser graph; `estimate` as `latents`, 0 at first; `coefficients` [5]: a, b, c, p, q.
        Float32 outside.
        """
        dtype = next(self.denoiser.parameters()).dtype
        pictures = (tensor.to(dtype) for tensor in (latents, mask, masked_latents))
        # The timestep stays float32 for its sines, and the guidance makes the sum of the branches float32.
        noise: Tensor = self.denoiser(*pictures, timestep, guidance)
        a, b, c, p, q = coefficients
        # One graph for every solver: what is added for c = 0 is 0, and changes no number.
        return a * latents + b * noise + c * estimate, p * latents + q * noise


class Half(nn.Module):
    """A graph whose inputs and outputs are float32 outside."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Evaluate the encoder or decoder: its input -> its outputs."""
        outputs = self.graph(picture.to(next(self.graph.parameters()).dtype))
        return tuple(out.float() for out in (outputs if isinstance(outputs, tuple) else (outputs,)))


class Program:
    """A module with inputs and outputs at fixed addresses, replayed as a CUDA graph if it can be captured."""

    def __init__(self, module: nn.Module, inputs: Mapping[str, Tensor], options: CudaOptions) -> None:
        """Run the module once, and capture it. `inputs`: by name, in the order of `module.forward`."""
        self.inputs = dict(inputs)
        work: Callable[..., Tensor | tuple[Tensor, ...]] = module
        if options.compiled:
            work = torch.compile(module, fullgraph=True, dynamic=False)
        self._work, self._tune = work, options.capture
        self._graph: torch.cuda.CUDAGraph | None = None
        self.outputs = self._evaluate()
        if options.capture:
            self._capture()

    def launch(self) -> None:
        """Start a run; `outputs` hold the result when the device has done it."""
        if self._graph is not None:
            self._graph.replay()
            return
        for kept, new in zip(self.outputs, self._evaluate(), strict=True):
            kept.copy_(new)

    def _evaluate(self) -> tuple[Tensor, ...]:
        # Shapes never change, so cuDNN may try its algorithms; a run that is not replayed keeps torch's ways.
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=self._tune):
            outputs = self._work(*self.inputs.values())
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _capture(self) -> None:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._evaluate()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                outputs = self._evaluate()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            print(f"note: this graph cannot be captured and runs kernel by kernel: {reason}", file=sys.stderr)
            return
        self._graph, self.outputs = graph, outputs


class CudaRuntime:
    """Runs the graphs on a CUDA device, and the loop without leaving it."""

    name = "cuda"

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        specs: Mapping[str, GraphSpec],
        options: CudaOptions = CudaOptions(),
    ) -> None:
        """`modules`: the graphs of `build_graphs` or their deploy forms, in float32 on the CPU.

        `specs`: their inputs and outputs. Nothing goes to the device before it is run. Raises
        RuntimeUnavailable when torch finds no CUDA device.
        """
        check_device(options.device)
        self.modules, self.specs, self.options = dict(modules), specs, options
        self._programs: dict[str, Program] = {}
        self._overflowed: set[str] = set()  # graphs whose numbers half precision cannot hold

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph; names, shapes and dtypes as in the manifest."""
        spec = graph_spec(self.specs, graph)
        check_inputs(graph, spec.inputs, inputs)
        program = self._program(graph)
        self._write(program, inputs)
        if graph == "denoiser":
            self._write(program, {"coefficients": NOISE_ALONE, "estimate": np.zeros_like(inputs["latents"])})
        program.launch()
        # Of the denoiser the first alone: the second is the estimate.
        outputs = [_to_host(value) for value in program.outputs[: len(spec.outputs)]]
        if self._widen(graph, outputs):
            return self.run(graph, inputs)
        return {out.name: value for out, value in zip(spec.outputs, outputs, strict=True)}

    def denoise(
        self,
        start: Array,
        mask: Array,
        masked_latents: Array,
        coefficients: Sequence[Step],
        guidance: float,
        after_step: Callable[[], None] | None = None,
    ) -> Array:
        """All steps of the loop on the device; see `moebius_edge.inpaint.loop.denoise`."""
        program = self._program("denoiser")
        pictures = {"latents": start, "estimate": np.zeros_like(start), "mask": mask}
        scale = np.array([guidance], np.float32)
        self._write(program, {**pictures, "masked_latents": masked_latents, "guidance": scale})
        table = torch.from_numpy(as_array(coefficients)).to(self.options.device)
        for row in table:
            program.inputs["timestep"].copy_(row[:1])
            program.inputs["coefficients"].copy_(row[1:])
            program.launch()
            for name, value in zip(("latents", "estimate"), program.outputs, strict=True):
                program.inputs[name].copy_(value)
            if after_step is not None:
                self._wait()
                after_step()
        latents = _to_host(program.outputs[0])
        if self._widen("denoiser", [latents]):
            # These steps were counted already.
            return self.denoise(start, mask, masked_latents, coefficients, guidance)
        return latents

    def release(self, graph: str) -> None:
        """Free what the graph holds on the device."""
        self._programs.pop(graph, None)

    def _program(self, graph: str) -> Program:
        if graph not in self._programs:
            device = self.options.device
            dtype = torch.float32 if graph in self._overflowed else getattr(torch, self.options.dtype)
            module = copy.deepcopy(self.modules[graph]).to(device, dtype)
            if self.options.channels_last:
                module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            names = [(spec.name, spec.shape) for spec in self.specs[graph].inputs]
            if graph == "denoiser":
                names += [("estimate", self.specs[graph].outputs[0].shape)]
                names += [("coefficients", (len(COEFFICIENTS),))]
            inputs = {name: torch.zeros(shape, device=device) for name, shape in names}
            wrapped = Update(module) if graph == "denoiser" else Half(module)
            self._programs[graph] = Program(wrapped, inputs, self.options)
        return self._programs[graph]

    def _widen(self, graph: str, outputs: Sequence[Array]) -> bool:
        """Whether half precision overflowed in the graph, which then runs in float32 from now on."""
        narrow = self.options.dtype != "float32" and graph not in self._overflowed
        if not narrow or all(np.isfinite(value).all() for value in outputs):
            return False
        print(
            f"note: {self.options.dtype} cannot hold the {graph}'s numbers; it runs in float32",
            file=sys.stderr,
        )
        self._overflowed.add(graph)
        self.release(graph)
        return True

    def _write(self, program: Program, values: Mapping[str, Array]) -> None:
        for name, value in values.items():
            program.inputs[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))

    def _wait(self) -> None:
        if self.options.device == "cuda":
            torch.cuda.synchronize()


def _to_host(value: Tensor) -> Array:
    return value.to("cpu", copy=True).numpy()  # the next run writes over the original


def check_device(device: str) -> None:
    """Raise RuntimeUnavailable when torch finds no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeUnavailable(
            f"torch {torch.__version__} finds no CUDA device; the runtime cuda needs an NVIDIA GPU with its "
            "driver and a torch that was built for CUDA"
        )
