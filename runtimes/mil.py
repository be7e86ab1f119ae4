"""Run ML programs of Core ML without a Mac: an interpreter of saved .mlpackage files.

It reads program and weights back from the package and evaluates one operator after the other in float32,
rounding to float16 where the program has float16 values. So it shows what a bundle computes, but not how fast
Apple's engines compute it, nor how they round inside an operator. It is slow, and meant for `verify`.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moebius_edge.bundle.folder import REPAIR, Bundle
from moebius_edge.bundle.manifest import GraphSpec
from moebius_edge.common.errors import BundleError, RuntimeUnavailable
from moebius_edge.common.memory import trim_memory
from moebius_edge.common.silence import silenced_coremltools
from moebius_edge.common.tensors import Array
from moebius_edge.runtimes import mlpackage
from moebius_edge.runtimes.graph_limits import MOST
from moebius_edge.runtimes.inputs import check_inputs, graph_spec
from moebius_edge.runtimes.mil_operators import OPERATORS

with silenced_coremltools():
    from coremltools.converters.mil.frontend.milproto import load as milproto
    from coremltools.converters.mil.mil.types import builtin_to_string
    from coremltools.models.utils import load_spec

Watch = Callable[[str, str, torch.Tensor], torch.Tensor]  # (operator, name of its result, result) -> result
TORCH_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.int8, "uint8": torch.uint8}


class Program:
    """One ML program in memory: the function `main` of coremltools' MIL."""

    @classmethod
    def read(cls, path: Path) -> "Program":
        """Read a package.

        Raises BundleError for one that is not as this project writes them, and whatever coremltools raises
        for one that is damaged.
        """
        mlpackage.require_own(path)
        with silenced_coremltools():
            spec = load_spec(str(path / mlpackage.MODEL))  # given the folder, it would write into it
            loaded = milproto.load(spec, spec.specificationVersion, str(path / mlpackage.WEIGHTS))
        if len(spec.mlProgram.functions["main"].block_specializations) != 1:
            raise BundleError("it has several forms of one function")
        main = loaded.functions["main"]
        described = [
            [feature.name for feature in side] for side in (spec.description.input, spec.description.output)
        ]
        if described != [list(main.inputs), [var.name for var in main.outputs]]:
            raise BundleError("its description is of other inputs or outputs than its function has")
        return cls(main)

    def __init__(self, main: Any) -> None:
        """Take the function `main`. Raises BundleError for unknown operators and for huge values."""
        self.main = main
        self.operations = [op for op in main.operations if op.op_type != "const" and not _constant(op)]
        unknown = {op.op_type for op in self.operations} - OPERATORS.keys()
        if unknown:
            raise BundleError(f"it has operators that are not known here: {', '.join(sorted(unknown))}")
        made = [math.prod(var.shape) for op in self.operations for var in op.outputs]
        if max(made, default=0) > MOST.value:
            raise BundleError(
                f"it takes a value of {max(made):,} numbers; at most {MOST.value:,} are allowed"
            )
        read = [var for op in self.operations for var in variables(op)]
        self.stored = {var.name: _plain(var) for var in read if _stored(var)}  # weights and parameters, once
        self.readers = Counter(var.name for var in read if not _stored(var))
        self.outputs = [var.name for var in self.main.outputs]

    def run(self, inputs: Mapping[str, Array], watch: Watch | None = None) -> dict[str, Array]:
        """Evaluate `main`; each value is freed after the last operator that reads it.

        `watch` gets what each operator gives and returns what to go on with, for comparisons operator by
        operator. Raises ValueError when an operator fails or gives another shape than the program says.
        """
        left = self.readers + Counter(self.outputs)
        values = self.stored | {
            name: torch.from_numpy(array).to(_type(self.main.inputs[name])) for name, array in inputs.items()
        }
        with torch.inference_mode():
            for op in self.operations:
                made = _evaluate(op, values)
                for var in variables(op):
                    if var.name in left:
                        left[var.name] -= 1
                        if left[var.name] == 0:
                            del values[var.name]
                results = made if isinstance(made, tuple) else (made,)
                for var, result in zip(op.outputs, results, strict=True):
                    if tuple(result.shape) != tuple(var.shape):
                        raise ValueError(
                            f"{var.name} is {list(result.shape)}; the program says {list(var.shape)}"
                        )
                    value = result.to(_type(var))
                    values[var.name] = watch(op.op_type, var.name, value) if watch else value
        return {name: values[name].float().numpy() for name in self.outputs}


def _evaluate(op: Any, values: Mapping[str, Any]) -> Any:
    try:
        return OPERATORS[op.op_type](**{name: _value(var, values) for name, var in op.inputs.items()})
    except Exception as error:  # torch's and Python's, for what a damaged program may say
        raise ValueError(f"{op.op_type} {op.outputs[0].name}: {error or type(error).__name__}") from error


def _constant(op: Any) -> bool:
    return bool(op.op_type.startswith("constexpr_"))


def variables(op: Any) -> list[Any]:
    """List what an operator reads, in lists too, computed or stored."""
    found: list[Any] = []
    for value in op.inputs.values():
        found += value if isinstance(value, list | tuple) else [value]
    return [var for var in found if var is not None]


def _stored(var: Any) -> bool:
    return var.val is not None or (var.op is not None and _constant(var.op))


def _plain(var: Any) -> Any:
    """Return a tensor of stored numbers; another parameter as it is."""
    found = var.val if var.val is not None else var.op.materialized_val_inference()
    if isinstance(found, np.ndarray | np.generic) and np.asarray(found).dtype.kind in "fiu":
        return torch.from_numpy(np.array(found))
    return found


def _value(var: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(var, list | tuple):
        return [_value(each, values) for each in var]
    return None if var is None else values[var.name]


def _type(var: Any) -> torch.dtype:
    return TORCH_TYPES[builtin_to_string(var.dtype)]


class MilRuntime:
    """A runtime for a bundle's ML programs on the CPU, by the interpreter; slow."""

    name = "mil"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Keep the bundle; programs are loaded at first use. `threads`: of torch, for the whole process."""
        self.bundle = bundle
        self._programs: dict[str, Program] = {}
        self._loading = threading.Lock()
        if threads is not None:
            torch.set_num_threads(threads)

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph; names, shapes and dtypes as in the manifest.

        Raises InvalidInput for other inputs, BundleError for a package that is not what the manifest says,
        and RuntimeUnavailable when an operator fails.
        """
        spec = graph_spec(self.bundle.manifest.graphs, graph)
        check_inputs(graph, spec.inputs, inputs)
        with self._loading:
            if graph not in self._programs:
                self._programs[graph] = load(self.bundle, spec)
        program = self._programs[graph]
        try:
            outputs = program.run({name: np.ascontiguousarray(value) for name, value in inputs.items()})
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise RuntimeUnavailable(f"{graph} cannot be run: {str(error)[:300]}") from error
        return outputs

    def release(self, graph: str) -> None:
        """Free the graph's program. Raises InvalidInput for a graph that the bundle does not have."""
        graph_spec(self.bundle.manifest.graphs, graph)
        if self._programs.pop(graph, None) is not None:
            trim_memory()


def load(bundle: Bundle, spec: GraphSpec) -> Program:
    """Return the program of a graph.

    Raises BundleError, with the file's name, when it cannot be read or is not what the manifest says.
    """
    try:
        program = Program.read(bundle.file(spec.file))
        main = program.main
        found = [
            {name: (builtin_to_string(var.dtype), tuple(var.shape)) for name, var in side}
            for side in (main.inputs.items(), ((var.name, var) for var in main.outputs))
        ]
    except BundleError as error:
        raise BundleError(f"cannot run {spec.file}: {error}; update moebius-edge, or {REPAIR}") from error
    except Exception as error:  # coremltools' and protobuf's share no base class
        why = str(error) or type(error).__name__
        raise BundleError(f"{spec.file} is no ML program that can be read: {why}; {REPAIR}") from error
    expected = [{each.name: ("fp32", each.shape) for each in side} for side in (spec.inputs, spec.outputs)]
    if found != expected:
        raise BundleError(f"{spec.file} has the interface {found}; the manifest says {expected}; {REPAIR}")
    return program
