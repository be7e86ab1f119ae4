"""ML programs on macOS, through coremltools and Apple's own runtime."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from moebius_edge.bundle import REPAIR, Bundle
from moebius_edge.errors import RuntimeUnavailable
from moebius_edge.memory import trim_memory
from moebius_edge.quiet import quiet_coremltools
from moebius_edge.runtimes import ELSEWHERE
from moebius_edge.runtimes.inputs import check_inputs, graph_spec
from moebius_edge.tensors import Array

UNITS = "CPU_AND_NE"  # of a compute unit in coremltools: what apps use


class CoreMLRuntime:
    """Runs a bundle's ML programs where Core ML is."""

    name = "coreml"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Loads nothing yet; Core ML chooses its threads. Raises RuntimeUnavailable off macOS."""
        system, instead = ELSEWHERE[self.name]
        if sys.platform != system:
            raise RuntimeUnavailable(
                f"Core ML runs on macOS alone; --runtime {instead} interprets the same packages here, slowly"
            )
        self.bundle = bundle
        self._models: dict[str, Any] = {}

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph; names, shapes and dtypes as in the manifest."""
        spec = graph_spec(self.bundle, graph)
        check_inputs(graph, spec.inputs, inputs)
        if graph not in self._models:
            self._models[graph] = self._load(spec.file)
        outputs = self._models[graph].predict(dict(inputs))
        return {output.name: np.asarray(outputs[output.name], np.float32) for output in spec.outputs}

    def release(self, graph: str) -> None:
        """Free the graph's model."""
        graph_spec(self.bundle, graph)
        if self._models.pop(graph, None) is not None:
            trim_memory()

    def _load(self, file: str) -> Any:
        with quiet_coremltools():
            import coremltools as ct  # noqa: PLC0415
        try:
            return ct.models.MLModel(str(self.bundle.file(file)), compute_units=ct.ComputeUnit[UNITS])
        except Exception as error:
            raise RuntimeUnavailable(f"Core ML cannot load {file}: {error}; {REPAIR}") from error
