"""Each lowered operator against ONNX Runtime, on random shapes and attributes, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.common.errors import BundleError, ExportError
from moebius_edge.common.tensors import Array
from moebius_edge.export.targets.coreml import package
from moebius_edge.export.targets.coreml.lowering import LOWERINGS, lower
from moebius_edge.runtimes import mlpackage
from moebius_edge.runtimes.mil import Program
from moebius_edge.runtimes.mil_operators import OPERATORS

Weights = dict[str, Array]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Case = tuple[list[onnx.NodeProto], tuple[int, ...], Weights]

node = helper.make_node
CASES: dict[str, Callable[[Draw], Case]] = {}


def numbers(*shape: int, seed: int = 0) -> Array:
    made: Array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return made


def integers(*values: int) -> Array:
    return np.array(values, np.int64)


def graph(nodes: list[onnx.NodeProto], shape: tuple[int, ...], weights: Weights) -> onnx.ModelProto:
    """From x of the shape to y, or to y0, y1, ...; shapes of outputs are inferred."""
    made = [name for each in nodes for name in each.output if name.startswith("y")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [onnx.ValueInfoProto(name=name) for name in made]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def outputs(model: onnx.ModelProto, x: Array) -> tuple[list[Array], list[Array]]:
    """Of the interpreter and of ONNX Runtime."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    expected = session.run(None, {"x": x})
    program = Program(lower(model, ct.target.iOS17).functions["main"])
    found = program.run({"x": x})
    return [found[value.name] for value in session.get_outputs()], expected


def case(*operators: str) -> Callable[[Callable[[Draw], Case]], Callable[[Draw], Case]]:
    def register(function: Callable[[Draw], Case]) -> Callable[[Draw], Case]:
        CASES.update(dict.fromkeys(operators, function))
        return function

    return register


def shapes(low: int = 1, high: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(1, 5), min_size=low, max_size=high).map(tuple)


def unary(operator: str) -> Callable[[Draw], Case]:
    return lambda draw: ([node(operator, ["x"], ["y"])], draw(shapes()), {})


def binary(operator: str) -> Callable[[Draw], Case]:
    def made(draw: Draw) -> Case:
        shape = draw(shapes())
        other = [size if draw(st.booleans()) else 1 for size in shape][draw(st.integers(0, len(shape))) :]
        names = ["x", "w"] if draw(st.booleans()) else ["w", "x"]
        return [node(operator, names, ["y"])], shape, {"w": numbers(*other, seed=1) + 3}

    return made


CASES |= {name: unary(name) for name in ("Relu", "Sigmoid", "Exp", "Sin", "Cos")}
CASES |= {name: binary(name) for name in ("Add", "Sub", "Mul", "Div")}


@case("Sqrt", "Reciprocal")
def positive(draw: Draw) -> Case:
    nodes = [node("Exp", ["x"], ["e"]), node("Sqrt", ["e"], ["y0"]), node("Reciprocal", ["e"], ["y1"])]
    return nodes, draw(shapes()), {}


@case("com.microsoft:QuickGelu")
def silu(draw: Draw) -> Case:
    """Both ways in which graphs have it."""
    nodes = [
        node("Sigmoid", ["x"], ["s"]),
        node("Mul", ["x", "s"] if draw(st.booleans()) else ["s", "x"], ["y0"]),
        node("QuickGelu", ["x"], ["y1"], domain="com.microsoft", alpha=1.0),
        node("Mul", ["s", "y1"], ["y2"]),  # no silu
    ]
    return nodes, draw(shapes()), {}


@case("Clip")
def clip(draw: Draw) -> Case:
    names = ["x", "low" if draw(st.booleans()) else "", "high" if draw(st.booleans()) else ""]
    ends = {"low": np.float32(-0.5), "high": np.float32(0.25)}
    return [node("Clip", names, ["y"])], draw(shapes()), {k: np.asarray(v) for k, v in ends.items()}


@case("Cast")
def cast(draw: Draw) -> Case:
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    return nodes, draw(shapes()), {}


@case("Softmax")
def softmax(draw: Draw) -> Case:
    shape = draw(shapes())
    return [node("Softmax", ["x"], ["y"], axis=draw(st.integers(-len(shape), len(shape) - 1)))], shape, {}


@case("Reshape")
def reshape(draw: Draw) -> Case:
    shape = draw(shapes())
    wanted = draw(st.sampled_from([integers(0, -1), integers(-1), integers(1, -1, 1)]))
    return [node("Reshape", ["x", "s"], ["y"])], shape, {"s": wanted}


@case("Transpose")
def transpose(draw: Draw) -> Case:
    shape = draw(shapes())
    order = draw(st.none() | st.permutations(range(len(shape))))
    return [node("Transpose", ["x"], ["y"], **({} if order is None else {"perm": order}))], shape, {}


@case("Unsqueeze", "Squeeze")
def unsqueeze(draw: Draw) -> Case:
    shape = draw(shapes(1, 3))
    axes = draw(st.lists(st.integers(0, len(shape) + 1), min_size=2, max_size=2, unique=True))
    axes = [axis - len(shape) - 2 if draw(st.booleans()) else axis for axis in axes]
    nodes = [node("Unsqueeze", ["x", "a"], ["y0"]), node("Squeeze", ["y0", "a"], ["y1"])]
    return nodes, shape, {"a": integers(*axes)}


@case("Concat")
def concat(draw: Draw) -> Case:
    shape = draw(shapes())
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return [node("Concat", ["x", "w", "x"], ["y"], axis=axis)], shape, {"w": numbers(*shape, seed=1)}


@case("Split")
def split(draw: Draw) -> Case:
    shape = (*draw(shapes(1, 3)), draw(st.integers(4, 7)))
    if draw(st.booleans()):
        return [node("Split", ["x"], ["y0", "y1"], axis=-1, num_outputs=2)], shape, {}
    sizes = integers(1, 2, shape[-1] - 3)
    return [node("Split", ["x", "s"], ["y0", "y1", "y2"], axis=len(shape) - 1)], shape, {"s": sizes}


@case("Slice")
def slice_(draw: Draw) -> Case:
    shape = tuple(size + 2 for size in draw(shapes(2, 5)))
    ends = st.sampled_from([2, -1, np.iinfo(np.int64).max])
    weights = {
        "b": integers(draw(st.integers(0, 1)), -2),
        "e": integers(draw(ends), np.iinfo(np.int64).max),
        "a": integers(0, -1),
        "s": integers(1, draw(st.integers(1, 2))),
    }
    return [node("Slice", ["x", *weights], ["y"])], shape, weights


@case("Expand")
def expand(draw: Draw) -> Case:
    shape = (1, draw(st.integers(1, 4)), 1)
    wanted = draw(st.sampled_from([integers(3, 1, 5), integers(2, 3, 1, 2), integers(4)]))
    return [node("Expand", ["x", "s"], ["y"])], shape, {"s": wanted}


@case("Resize")
def resize(draw: Draw) -> Case:
    factors = (1, 1, draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    shape = (2, 3, 4, 5)
    if draw(st.booleans()):
        weights = {"f": np.array(factors, np.float32)}
        names = ["x", "", "f"]
    else:
        weights = {"s": np.array(shape, np.int64) * factors}
        names = ["x", "", "", "s"]
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": "nearest"}
    return [node("Resize", names, ["y"], **how)], shape, weights


@case("Gather")
def gather(draw: Draw) -> Case:
    shape = draw(shapes(1, 4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    found = draw(st.lists(st.integers(-size, size - 1), min_size=4, max_size=4))
    wanted = [integers(*found), integers(*found).reshape(2, 2), np.array(found[0])]
    return [node("Gather", ["x", "i"], ["y"], axis=axis)], shape, {"i": draw(st.sampled_from(wanted))}


@given(
    axis=st.integers(0, 2),
    length=st.integers(1, 40),
    starts=st.lists(st.integers(0, 20), min_size=1, max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_a_gather_of_windows_is_the_same_in_slices_or_not(axis: int, length: int, starts: list[int]) -> None:
    shape = tuple(60 if place == axis else 2 for place in range(3))
    indices = (np.arange(length)[:, None] + starts).reshape(-1)
    model = graph([node("Gather", ["x", "i"], ["y"], axis=axis)], shape, {"i": indices})
    (found,), (expected,) = outputs(model, numbers(*shape))
    np.testing.assert_array_equal(found, expected)


@case("Pad")
def pad(draw: Draw) -> Case:
    shape = draw(shapes())
    amounts = [draw(st.integers(0, 2)) for _ in range(2 * len(shape))]
    weights = {"p": integers(*amounts), "v": np.array(draw(st.sampled_from([0.0, -1.5])), np.float32)}
    return [node("Pad", ["x", *weights], ["y"])], shape, weights


@case("Conv")
def conv(draw: Draw) -> Case:
    groups, each, kernel = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    weights = {"w": numbers(2 * groups, each, kernel, kernel, seed=1)}
    if draw(st.booleans()):
        weights["b"] = numbers(2 * groups, seed=2)
    made = node(
        "Conv",
        ["x", *weights],
        ["y"],
        group=groups,
        pads=[draw(st.integers(0, 2)) for _ in range(4)],
        strides=[draw(st.integers(1, 2)) for _ in range(2)],
        dilations=[draw(st.integers(1, 2))] * 2,
    )
    return [made], (2, groups * each, 7, 6), weights


@case("ConvTranspose")
def conv_transpose(draw: Draw) -> Case:
    groups, each = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    weights = {"w": numbers(2 * groups, each, draw(st.integers(2, 4)), 3, seed=1)}
    if draw(st.booleans()):
        weights["b"] = numbers(each * groups, seed=2)
    made = node(
        "ConvTranspose",
        ["x", *weights],
        ["y"],
        group=groups,
        pads=[draw(st.integers(0, 1)) for _ in range(4)],
        strides=[draw(st.integers(1, 2)) for _ in range(2)],
        dilations=[draw(st.integers(1, 2))] * 2,
    )
    return [made], (2, 2 * groups, 5, 6), weights


@case("MatMul")
def matmul(draw: Draw) -> Case:
    shape = (*draw(shapes(1, 3)), 4)
    if draw(st.booleans()):
        return [node("MatMul", ["x", "w"], ["y"])], shape, {"w": numbers(4, 3, seed=1)}
    turned = node("Transpose", ["x"], ["t"], perm=[*range(len(shape) - 2), len(shape) - 1, len(shape) - 2])
    return [turned, node("MatMul", ["x", "t"], ["y"])], shape, {}


@case("Gemm")
def gemm(draw: Draw) -> Case:
    turned = draw(st.booleans())
    weights = {"w": numbers(*((3, 4) if turned else (4, 3)), seed=1)}
    if draw(st.booleans()):
        weights["b"] = draw(st.sampled_from([numbers(3, seed=2), numbers(1, seed=2), numbers(1, 3, seed=2)]))
    return [node("Gemm", ["x", *weights], ["y"], transB=int(turned))], (5, 4), weights


@case("InstanceNormalization")
def instance_norm(draw: Draw) -> Case:
    """Alone, and as a GroupNorm of pictures or tokens."""
    shape = (2, 6, *draw(st.sampled_from([(9,), (4, 5)])))
    groups = draw(st.sampled_from([6, 3, 2]))
    weights = {"g": numbers(groups, seed=1), "b": numbers(groups, seed=2)}
    epsilon = draw(st.sampled_from([1e-5, 1e-2]))
    if groups == 6:
        return [node("InstanceNormalization", ["x", *weights], ["y"], epsilon=epsilon)], shape, weights
    nodes = [
        node("Reshape", ["x", "joined"], ["j"]),
        node("InstanceNormalization", ["j", *weights], ["n"], epsilon=epsilon),
        node("Reshape", ["n", "apart"], ["y"]),
    ]
    return nodes, shape, weights | {"joined": integers(0, groups, -1), "apart": integers(*shape)}


@case("LayerNormalization")
def layer_norm(draw: Draw) -> Case:
    shape = (*draw(shapes(1, 3)), 6)
    axis = draw(st.integers(-len(shape), -1))
    weights = {"g": numbers(*shape[axis:], seed=1)}
    if draw(st.booleans()):
        weights["b"] = numbers(*shape[axis:], seed=2)
    made = node("LayerNormalization", ["x", *weights], ["y"], epsilon=1e-3, axis=axis)
    return [made], shape, weights


@case("ReduceMean")
def reduce_mean(draw: Draw) -> Case:
    shape = draw(shapes(2, 4))
    keep = draw(st.integers(0, 1))
    axes = draw(st.sampled_from([integers(-1), integers(0, 1), None]))
    if axes is None:
        return [node("ReduceMean", ["x"], ["y"], keepdims=keep)], shape, {}
    return [node("ReduceMean", ["x", "a"], ["y"], keepdims=keep)], shape, {"a": axes}


@case("QuantizeLinear", "DequantizeLinear")
def quantized(draw: Draw) -> Case:
    """An activation between Q and DQ, a weight per channel, a bias of 32 bits."""
    kind = draw(st.sampled_from([np.int8, np.uint8]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weights = {
        "s": np.array(0.02, np.float32),
        "z": np.array(draw(st.integers(0, 100)), kind),
        "w": rng.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8),
        "ws": rng.uniform(0.01, 0.02, 4).astype(np.float32),
        "wz": rng.integers(-9, 10, 4).astype(np.int8) * draw(st.booleans()),
        "b": rng.integers(-999, 999, 4).astype(np.int32),
        "bz": np.zeros(4, np.int32),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["y0"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        node("DequantizeLinear", ["b", "ws", "bz"], ["bd"], axis=0),
        node("Conv", ["y0", "wd", "bd"], ["y1"]),
        node("DequantizeLinear", ["m", "ws", "wz"], ["md"], axis=1),
        node("Reshape", ["y0", "rows"], ["r"]),
        node("MatMul", ["r", "md"], ["y2"]),
        node("Gemm", ["r", "md", "bd"], ["y3"]),
        node("DequantizeLinear", ["m", "s8", "z8"], ["mt"]),
        node("Transpose", ["y2"], ["t"], perm=[1, 0]),
        node("Gemm", ["y2", "mt"], ["y4"], transB=1),
    ]
    more = {
        "m": rng.integers(-127, 128, (5, 4)).astype(np.int8),
        "s8": np.array(0.01, np.float32),
        "z8": np.array(0, np.int8),
        "rows": integers(-1, 5),
    }
    return nodes, (1, 3, 4, 5), weights | more


@pytest.mark.parametrize("operator", sorted(CASES))
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_an_operator_computes_what_onnx_runtime_does(operator: str, data: st.DataObject) -> None:
    nodes, shape, weights = CASES[operator](data.draw)
    used = {name for each in nodes for name in each.input}
    model = graph(nodes, shape, {name: value for name, value in weights.items() if name in used})
    for found, expected in zip(*outputs(model, numbers(*shape)), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_every_lowered_operator_is_tried() -> None:
    assert set(CASES) == set(LOWERINGS)


CONV = node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER")
PAIR = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]


@pytest.mark.parametrize(
    ("nodes", "shape", "weights", "words"),
    [
        ([node("Erf", ["x"], ["y"])], (2,), {}, "this operator is not known"),
        ([node("Softmax", ["x"], ["y"], axis=0, beta=1.0)], (2,), {}, "its beta is not known"),
        ([node("QuickGelu", ["x"], ["y"], domain="com.microsoft")], (2,), {}, "its alpha is 1.702"),
        ([node("Unsqueeze", ["x", "a"], ["y"])], (1, 2, 3, 4, 5), {"a": integers(0)}, "6 dimensions"),
        ([node("Reshape", ["x", "s"], ["y"], allowzero=1)], (4,), {"s": integers(0, 4)}, "an empty tensor"),
        ([node("Pad", ["x", "p"], ["y"], mode="reflect")], (4,), {"p": integers(1, 1)}, "mode is reflect"),
        ([node("Pad", ["x", "p"], ["y"])], (4,), {"p": integers(-1, 0)}, "it cuts off"),
        ([node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)], (2,), {}, "it casts to DOUBLE"),
        ([node("Gather", ["x", "i"], ["y"])], (2,), {"i": integers(2)}, "its indices are 2 to 2"),
        ([node("Conv", ["x", "w"], ["y"])], (1, 1, 5), {"w": numbers(1, 1, 2)}, "expected pictures"),
        ([node("Gemm", ["x", "w"], ["y"], alpha=2.0)], (2, 2), {"w": numbers(2, 2)}, "its alpha is 2.0"),
        ([node("Gemm", ["x", "x"], ["y"])], (2, 2), {}, "its input 1 is computed"),
        ([CONV], (1, 1, 5, 5), {"w": numbers(1, 1, 2, 2)}, "its auto_pad is SAME_UPPER"),
        (PAIR, (2,), {"s": numbers(2) + 9, "z": np.zeros(2, np.int8)}, "2 scales"),
        ([node("Slice", ["x", "b", "e"], ["y"])], (4,), {"b": integers(3), "e": integers(1)}, "empty"),
        ([node("Add", ["x", "w"], ["y"])], (2, 3), {"w": numbers(2, 2)}, ""),  # coremltools' own words
        ([node("Add", ["x", "w"], ["y"])], (2, 3), {"w": numbers(2, 3).astype(np.float16)}, ""),
        ([node("Conv", ["x", "w"], ["y"])], (1, 2, 5, 5), {"w": numbers(3, 4, 1, 1)}, ""),
        ([node("Conv", ["x", "w"], ["y"], pads=[1, 1])], (1, 1, 5, 5), {"w": numbers(1, 1, 1, 1)}, ""),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], weights: Weights, words: str
) -> None:
    nodes[0].name = "the_node"
    with pytest.raises(ExportError, match="cannot be lowered to Core ML") as error:
        lower(graph(nodes, shape, weights), ct.target.iOS17)
    assert words in str(error.value) and str(error.value).startswith("the_node")


@pytest.mark.parametrize(("kind", "shape"), [(TensorProto.INT64, (2,)), (TensorProto.FLOAT, (0, 2))])
def test_inputs_that_core_ml_does_not_take(kind: int, shape: tuple[int, ...]) -> None:
    model = graph([node("Relu", ["x"], ["y"])], shape, {})
    model.graph.input[0].type.tensor_type.elem_type = kind
    with pytest.raises(ExportError, match=r"the input x is .* expected float or float16 of fixed sizes"):
        lower(model, ct.target.iOS17)


def test_floats_of_16_bits_are_rounded_after_each_operator() -> None:
    """What all numbers of FP16 packages rest on, against NumPy's float16."""
    x, w = numbers(64) * 100, numbers(64, seed=1).astype(np.float16)
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Add", ["h", "w"], ["sum"]),
        node("Mul", ["sum", "three"], ["product"]),
        node("Sub", ["product", "w"], ["difference"]),
        node("Cast", ["difference"], ["y"], to=TensorProto.FLOAT),
    ]
    three = np.array(3, np.float16)
    found, _ = outputs(graph(nodes, (64,), {"w": w, "three": three}), x)
    expected = (x.astype(np.float16) + w) * three - w
    np.testing.assert_array_equal(found[0], expected.astype(np.float32))
    once = (x.astype(np.float16).astype(np.float32) + w) * np.float32(3) - w
    assert (found[0] != once.astype(np.float16).astype(np.float32)).any()


def test_a_package_names_its_own_parts_and_is_not_written_to(tmp_path: Path) -> None:
    program = package.to_program(graph([node("Relu", ["x"], ["y"])], (2, 3), {}))
    package.save(program.get_spec(), Path(program.weights_dir), tmp_path / "a.mlpackage")
    file = tmp_path / "a.mlpackage" / mlpackage.NAME
    before = file.stat()
    assert Program.read(tmp_path / "a.mlpackage").outputs == ["y"]
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(list(tmp_path.rglob("*"))) == 6
    text = file.read_text()
    for other in (text.replace("com.apple.CoreML/model", "../../../../evil"), json.dumps(json.loads(text))):
        file.write_text(other)
        with pytest.raises(BundleError, match="is not what this project writes"):
            Program.read(tmp_path / "a.mlpackage")


@pytest.mark.parametrize(
    ("operator", "given", "words"),
    [
        ("upsample_nearest_neighbor", {"scale_factor_height": 1.5, "scale_factor_width": 2}, "factor of 1.5"),
        ("gather", {"indices": torch.tensor([4]), "axis": torch.tensor(3)}, "beyond an axis of 4"),
        ("gather", {"indices": torch.tensor([-5]), "axis": torch.tensor(3)}, "beyond an axis of 4"),
        ("layer_norm", {"axes": torch.tensor([2]), "epsilon": torch.tensor(1e-5)}, r"axes \[2\] of 4"),
    ],
)
def test_what_the_interpreter_would_do_wrong_it_refuses(
    operator: str, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        OPERATORS[operator](x=torch.zeros(1, 2, 3, 4), **given)
