"""Core ML's runtime against a stand-in for Apple's engine: the interpreter behind coremltools' interface."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.models import compute_plan

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checking.prove import prove
from moebius_edge.common.errors import BundleError, InvalidInput, RuntimeUnavailable
from moebius_edge.inpaint.runtime import DevicePlan
from moebius_edge.runtimes import mil, open_runtime, units_of
from moebius_edge.runtimes.mil import Program


class MLComputeDevice:
    """coremltools' classes have the names of the devices."""


class MLNeuralEngineComputeDevice(MLComputeDevice):
    pass


class MLCPUComputeDevice(MLComputeDevice):
    pass


class Model:
    """`coremltools.models.MLModel` as this runtime uses it. The GPU of this one cannot run anything."""

    def __init__(self, path: str, compute_units: ct.ComputeUnit) -> None:
        self.program, self.unit = Program.read(Path(path)), compute_units

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.unit == ct.ComputeUnit.CPU_AND_GPU:
            raise RuntimeError("no GPU here")
        outputs = self.program.run(inputs)
        # The processor of this one computes wrong.
        factor = np.float32(1.05 if self.unit == ct.ComputeUnit.CPU_ONLY else 1)
        return {name: value * factor for name, value in outputs.items()}

    def get_compiled_model_path(self) -> str:
        return "compiled"


class Plan:
    """`MLComputePlan`: a constant without a device, two operators on one, one on the other."""

    @classmethod
    def load_from_path(cls, path: str, compute_units: ct.ComputeUnit) -> "Plan":
        assert path == "compiled"
        return cls()

    operations: tuple[Any, ...] = (
        None,
        MLNeuralEngineComputeDevice(),
        MLNeuralEngineComputeDevice(),
        MLCPUComputeDevice(),
    )

    @property
    def model_structure(self) -> Any:
        main = SimpleNamespace(block=SimpleNamespace(operations=self.operations))
        return SimpleNamespace(program=SimpleNamespace(functions={"main": main}))

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        return None if operation is None else SimpleNamespace(preferred_compute_device=operation)


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ct.models, "MLModel", Model)
    monkeypatch.setattr(compute_plan, "MLComputePlan", Plan)


@pytest.mark.usefixtures("apple")
def test_every_unit_is_replayed_timed_and_asked_for_its_plan(coreml: Bundle) -> None:
    said: list[str] = []
    proof = prove(coreml, runs=2, progress=lambda what, done, total: said.append(what))
    assert said == [f"coreml, {unit}" for unit in units_of("coreml")]
    assert (proof.runtime, proof.precision, proof.ok) == ("coreml", "fp32", True)
    assert {"moebius-edge", "coremltools"} == proof.versions.keys()
    units = {unit.unit: unit for unit in proof.units}
    for name in ("CPU_AND_NE", "ALL"):
        unit = units[name]
        assert unit.ok and unit.failures == () and unit.hole_db is not None and unit.hole_db > 60
        assert unit.graphs.keys() == {"encoder", "denoiser", "decoder"}
        for graph in unit.graphs.values():
            assert graph.devices == {"NeuralEngine": 2, "CPU": 1}
            assert 0 < graph.p50_ms <= graph.p95_ms
    wrong = units["CPU_ONLY"]
    assert not wrong.ok and any("denoiser" in failure for failure in wrong.failures)
    assert wrong.graphs["denoiser"].db < 40
    broken = units["CPU_AND_GPU"]
    assert not broken.ok and "no GPU here" in broken.failures[0] and broken.graphs == {}


@pytest.mark.usefixtures("apple")
def test_units_by_name(coreml: Bundle) -> None:
    proof = prove(coreml, units=("CPU_ONLY",), runs=1)
    assert [unit.unit for unit in proof.units] == ["CPU_ONLY"]
    with pytest.raises(InvalidInput, match="no unit 'NPU'; it has CPU_AND_NE"):
        prove(coreml, units=("NPU",))
    with pytest.raises(InvalidInput, match="runs is 0"):
        prove(coreml, runs=0)


@pytest.mark.usefixtures("apple")
def test_a_system_without_plans(coreml: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def older(path: str, compute_units: ct.ComputeUnit) -> Plan:
        raise RuntimeError("needs macOS 14.4")

    monkeypatch.setattr(Plan, "load_from_path", older)
    runtime = open_runtime(coreml, "coreml")
    assert isinstance(runtime, DevicePlan)
    runtime.run("decoder", {"latents": np.zeros((1, 4, 4, 4), np.float32)})
    assert runtime.devices("decoder") == {}


def test_on_linux_the_command_says_what_to_do(coreml: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(RuntimeUnavailable, match="--runtime mil interprets"):
        prove(coreml, runtime="coreml")
    # Without a name: what stands in for it here, as one unit.
    proof = prove(coreml, runs=1)
    assert proof.runtime == "mil" and [unit.unit for unit in proof.units] == ["default"] and proof.ok


def test_a_program_with_a_huge_value_is_refused(coreml: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mil, "MOST", replace(mil.MOST, value=100))
    with pytest.raises(BundleError, match=r"it takes a value of [\d,]+ numbers; at most 100 are allowed"):
        mil.load(coreml, coreml.manifest.graphs["decoder"])
