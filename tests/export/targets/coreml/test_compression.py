"""Tables and integers for weights: the nearest values, and what a package with them computes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.common.errors import ExportError
from moebius_edge.export.options import ExportOptions, default_precision, parse_settings
from moebius_edge.export.targets.coreml.compression import COMPRESSIONS, compression, nearest_values
from moebius_edge.export.targets.coreml.package import save, to_program
from moebius_edge.export.targets.registry import find_target
from moebius_edge.runtimes.mil import Program


@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32]),
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.floats(-60000, 60000, width=16),
    ),
    st.sampled_from([1, 2, 4, 6, 8]),
)
@settings(max_examples=80, deadline=None)
def test_every_weight_gets_the_nearest_value_of_its_table(weight: np.ndarray, bits: int) -> None:
    table, indices = nearest_values(weight, bits)
    assert table.shape == (2**bits,) and table.dtype == weight.dtype
    assert indices.shape == (weight.size,) and indices.dtype == np.uint8
    assert (np.diff(table.astype(float)) >= 0).all()
    flat, values = weight.reshape(-1).astype(float), table.astype(float)
    errors = np.abs(values[indices] - flat)
    assert (errors <= np.abs(values[None] - flat[:, None]).min(axis=1)).all()
    if len(np.unique(weight)) <= 2**bits:
        np.testing.assert_array_equal(table[indices], weight.reshape(-1))


@pytest.mark.parametrize(("bits", "least"), [(4, 20.1), (6, 31.7), (8, 43.3)])
def test_the_table_is_as_good_as_theory_says(bits: int, least: float) -> None:
    # Max (1960): 16 values give 20.22 dB of a normal distribution; Panter and Dite: 6.02 bits - 4.35.
    weight = np.random.default_rng(1).standard_normal((400, 500)).astype(np.float16)
    table, indices = nearest_values(weight, bits)
    error = table[indices].astype(float) - weight.reshape(-1)
    assert 10 * np.log10(np.mean(weight.astype(float) ** 2) / np.mean(error**2)) > least


def graph() -> onnx.ModelProto:
    """Two products in float16 with a constant each, one as a matrix and one as a table of positions."""
    rng = np.random.default_rng(5)
    weights = {
        "w": rng.standard_normal((64, 128)).astype(np.float16) / 8,
        "table": rng.standard_normal((16, 128, 24)).astype(np.float16) / 8,
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
        helper.make_node("MatMul", ["y", "table"], ["z"]),
        helper.make_node("Cast", ["z"], ["out"], to=TensorProto.FLOAT),
    ]
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [16, 4, 64])],
        [value("out", TensorProto.FLOAT, [16, 4, 24])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


# Precision -> dB of a product of two weights rounded so, and bytes of both.
EXPECTED = {
    "w8": (38, 60_000),
    "w4": (17, 58_000),
    "p8": (37, 60_000),
    "p6": (26, 46_000),
    "p4": (15, 32_000),
}


@pytest.mark.parametrize("precision", EXPECTED)
def test_what_a_package_with_small_weights_computes(tmp_path: Path, precision: str) -> None:
    feed = {"x": np.random.default_rng(6).standard_normal((16, 4, 64)).astype(np.float32)}
    deployment = ExportOptions("coreml", precision).all_settings()["deployment"]
    results = {}
    for name, smaller in (("exact", None), (precision, compression(precision, "denoiser"))):
        program = to_program(graph(), deployment, smaller)
        save(program.get_spec(), Path(program.weights_dir), tmp_path / name)
        results[name] = Program.read(tmp_path / name).run(feed)["out"]
    exact, error = results["exact"], results[precision] - results["exact"]
    least, most = EXPECTED[precision]
    assert least < 10 * np.log10(np.mean(exact**2) / np.mean(error**2)) < least + 12
    assert (tmp_path / precision / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size < most


def test_the_autoencoder_keeps_eight_bits() -> None:
    assert COMPRESSIONS.keys() == find_target("coreml").made_of.keys()
    for precision, (denoiser, others) in COMPRESSIONS.items():
        assert compression(precision, "denoiser") is denoiser
        assert compression(precision, "encoder") is compression(precision, "decoder") is others
    assert compression("fp16", "denoiser") is None


def test_whatever_the_target_makes_of_another_precision_has_its_compression() -> None:
    assert set(find_target("coreml").made_of) == set(COMPRESSIONS)


def test_what_can_be_deployed_where() -> None:
    assert ExportOptions("coreml", "p6").all_settings() == {"deployment": "iOS17"}
    assert ExportOptions("coreml", "fp16", settings={"deployment": "iOS16"}).all_settings() == {
        "deployment": "iOS16"
    }
    assert ExportOptions("coreml", "w4").all_settings() == {"deployment": "iOS18"}
    for wrong, message in (
        (("coreml", "w4", "deployment", "iOS17"), r"deployment is 'iOS17'; w4 takes iOS18 alone"),
        (("coreml", "int8", "deployment", "iOS16"), r"'iOS16'; int8 takes iOS17 \(the default\), iOS18"),
        (("coreml", "fp16", "system", "iOS17"), r"coreml in fp16 has no setting 'system'; it has deployment"),
        (("ort", "fp16", "deployment", "iOS17"), r"ort in fp16 has no setting 'deployment'; it has none"),
    ):
        target, precision, name, value = wrong
        with pytest.raises(ExportError, match=message):
            ExportOptions(target, precision, settings={name: value})


def test_settings_are_typed_as_name_and_value() -> None:
    assert parse_settings(["deployment=iOS18", "a=b=c"]) == {"deployment": "iOS18", "a": "b=c"}
    for wrong in ("deployment", "=iOS18", "deployment="):
        with pytest.raises(ExportError, match="is not NAME=VALUE"):
            parse_settings([wrong])
    with pytest.raises(ExportError, match="given twice: 1 and 2"):
        parse_settings(["a=1", "a=2"])
    assert (default_precision("coreml"), default_precision("ort"), default_precision("?")) == (
        "fp16",
        "fp32",
        "fp32",
    )
