"""What becomes of an ONNX file before an engine opens it; `tests/attacks/graphs.py` has the hostile ones."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.runtimes.graph_limits import MOST, Values, graph_sizes
from tests.attacks.graphs import GRAPHS, external, model

INPUTS = {"latents": (1, 4, 4, 4)}


def sizes_of(data: bytes, path: Path, values: Values | None = None) -> Any:
    path.write_bytes(data)
    return graph_sizes(path, INPUTS, {path.name: len(data)}, values)


def one(
    kind: str, shapes: list[tuple[int, ...]], stored: dict[int, Any], **attributes: Any
) -> onnx.ModelProto:
    """A graph with one operator, whose inputs follow from stored numbers except those in `stored`."""
    names = [f"i{i}" for i in range(len(shapes))]
    weights = {
        name: np.asarray(stored.get(i, np.zeros(shape, np.float32)))
        for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
    }
    node = helper.make_node(kind, names, [f"o{i}" for i in range(attributes.pop("outputs", 1))], **attributes)
    made = model([node], {**weights, "x": np.ones(1, np.float32)})
    made.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in node.output)
    return made


F = np.float32
CASES: dict[str, onnx.ModelProto] = {
    "MatMul of batches": one("MatMul", [(2, 1, 3, 4), (5, 4, 6)], {}),
    "MatMul of rows": one("MatMul", [(4,), (5, 4, 6)], {}),
    "MatMul of columns": one("MatMul", [(5, 4, 6), (6,)], {}),
    "MatMul of two rows": one("MatMul", [(6,), (6,)], {}),
    "Gemm": one("Gemm", [(3, 4), (5, 3)], {}, transA=1, transB=1),
    "Einsum": one("Einsum", [(2, 3, 4), (4, 5)], {}, equation="bij, jk -> ikb"),
    "Conv": one("Conv", [(1, 4, 9, 7), (6, 2, 3, 2)], {}, group=2, strides=[2, 1], pads=[1, 0, 2, 1]),
    "Conv, same": one("Conv", [(1, 4, 9, 7), (6, 4, 3, 3)], {}, strides=[2, 2], auto_pad="SAME_UPPER"),
    "Conv, dilated": one("Conv", [(1, 4, 9, 7), (6, 4, 3, 3)], {}, dilations=[2, 3], auto_pad="VALID"),
    "ConvTranspose": one(
        "ConvTranspose",
        [(1, 4, 3, 5), (4, 2, 3, 2)],
        {},
        strides=[2, 3],
        pads=[1, 0, 0, 1],
        output_padding=[1, 0],
    ),
    "ConvTranspose of groups": one("ConvTranspose", [(1, 4, 3, 5), (4, 3, 2, 2)], {}, group=2),
    "MaxPool": one("MaxPool", [(1, 4, 9, 7)], {}, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "AveragePool": one("AveragePool", [(1, 4, 9, 7)], {}, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "GlobalAveragePool": one("GlobalAveragePool", [(1, 4, 9, 7)], {}),
    "Reshape": one("Reshape", [(2, 3, 4), (3,)], {1: np.array([0, -1, 2])}),
    "Flatten": one("Flatten", [(2, 3, 4)], {}, axis=2),
    "Transpose": one("Transpose", [(2, 3, 4)], {}, perm=[2, 0, 1]),
    "Transpose, all": one("Transpose", [(2, 3, 4)], {}),
    "Unsqueeze": one("Unsqueeze", [(2, 3), (2,)], {1: np.array([0, -1])}),
    "Squeeze": one("Squeeze", [(1, 3, 1), (1,)], {1: np.array([-1])}),
    "Squeeze, all": one("Squeeze", [(1, 3, 1)], {}),
    "ReduceMean": one("ReduceMean", [(2, 3, 4), (1,)], {1: np.array([-1])}, keepdims=0),
    "ReduceSum, all": one("ReduceSum", [(2, 3, 4)], {}),
    "ReduceSum, none": one("ReduceSum", [(2, 3, 4)], {}, noop_with_empty_axes=1),
    "ArgMax": one("ArgMax", [(2, 3, 4)], {}, axis=1),
    "ArgMax, dropped": one("ArgMax", [(2, 3, 4)], {}, axis=1, keepdims=0),
    "Concat": one("Concat", [(2, 3), (2, 5)], {}, axis=-1),
    "Split": one("Split", [(2, 7)], {}, axis=1, outputs=3, num_outputs=3),
    "Split, given": one("Split", [(2, 7), (2,)], {1: np.array([2, 5])}, axis=-1, outputs=2),
    "Slice": one(
        "Slice",
        [(9, 8), (2,), (2,), (2,), (2,)],
        {1: np.array([-2, 1]), 2: np.array([-100, 1 << 40]), 3: np.array([0, -1]), 4: np.array([-3, 2])},
    ),
    "Gather": one("Gather", [(3, 4, 5), (2, 6)], {1: np.zeros((2, 6), np.int64)}, axis=-2),
    "GatherElements": one("GatherElements", [(3, 4), (2, 4)], {1: np.zeros((2, 4), np.int64)}),
    "Expand": one("Expand", [(3, 1), (3,)], {1: np.array([2, 1, 6])}),
    "Tile": one("Tile", [(3, 2), (2,)], {1: np.array([2, 3])}),
    "Pad": one("Pad", [(3, 2), (4,)], {1: np.array([1, 2, 3, -1])}),
    "ConstantOfShape": one("ConstantOfShape", [(3,)], {0: np.array([2, 3, 4])}),
    "Range": one("Range", [(), (), ()], {0: F(1), 1: F(8), 2: F(1.5)}),
    "Range, falling": one("Range", [(), (), ()], {0: np.int64(7), 1: np.int64(-3), 2: np.int64(-3)}),
    "Resize": one("Resize", [(1, 1, 3, 5), (0,), (4,)], {2: np.array([1, 1, 2, 1.5], F)}),
    "Shape": one("Shape", [(3, 2)], {}),
    "DepthToSpace": one("DepthToSpace", [(1, 8, 3, 2)], {}, blocksize=2),
    "SpaceToDepth": one("SpaceToDepth", [(1, 2, 4, 6)], {}, blocksize=2),
    "Where": one("Where", [(3, 1), (4,), (2, 1, 1)], {0: np.ones((3, 1), bool)}),
    "LayerNormalization": one("LayerNormalization", [(2, 4), (4,)], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_gives_the_shape_that_the_engine_gives(name: str, tmp_path: Path) -> None:
    data = CASES[name].SerializeToString()
    values: Values = {}
    plain = model([], {"x": np.ones(1, np.float32)})
    assert plain.graph.input[0].name == "latents"
    sizes_of(data, tmp_path / "g.onnx", values)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    wanted = [output.name for output in session.get_outputs()][1:]
    found = session.run(wanted, {"latents": np.zeros((1, 4, 4, 4), F)})
    assert {key: values[key].shape for key in wanted} == {
        key: array.shape for key, array in zip(wanted, found, strict=True)
    }


@pytest.mark.parametrize(
    ("name", "multiplications"),
    [
        ("MatMul of batches", 2 * 5 * 3 * 6 * 4),
        ("Gemm", 4 * 5 * 3),
        ("Einsum", 2 * 3 * 4 * 5),
        ("Conv", (6 * 5 * 7) * (2 * 3 * 2)),
        ("ConvTranspose", (4 * 3 * 5) * (2 * 3 * 2)),
        ("MaxPool", (4 * 5 * 3) * (2 * 3)),
    ],
)
def test_multiplications_are_counted(name: str, multiplications: int, tmp_path: Path) -> None:
    without = sizes_of(model([], {"x": np.ones(1, np.float32)}).SerializeToString(), tmp_path / "g.onnx")
    found = sizes_of(CASES[name].SerializeToString(), tmp_path / "g.onnx")
    assert found.work - without.work == found.folded_work - without.folded_work == multiplications


def test_what_is_alive_ends_with_its_last_reader(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Neg", ["latents"], ["a"]),
        node("Concat", ["a", "a"], ["b"], axis=0),
        node("Neg", ["b"], ["c"]),
        node("ReduceMax", ["c"], ["x"], keepdims=0),
    ]
    found = sizes_of(model(nodes, {}).SerializeToString(), tmp_path / "g.onnx")
    assert (found.value, found.folded) == (192, 0)
    assert found.alive == 192 + 1 + 192  # in the end; b and c are 128 each
    assert found.stored == 48 + 1


@pytest.mark.parametrize("kind", ["raw", "typed"])
def test_stored_numbers_are_read_in_both_forms(kind: str, tmp_path: Path) -> None:
    values = np.array([2, 3], np.int64)
    stored = (
        numpy_helper.from_array(values, "n")
        if kind == "raw"
        else helper.make_tensor("n", TensorProto.INT64, [2], values)
    )
    made = model([helper.make_node("Expand", ["one", "n"], ["x"])], {"n": stored})
    found: Values = {}
    sizes_of(made.SerializeToString(), tmp_path / "g.onnx", found)
    assert found["x"].shape == (2, 3)


def test_small_files_fold_little_and_large_ones_in_proportion(tmp_path: Path) -> None:
    made = model(
        [helper.make_node("Tile", ["w2", "n"], ["x"])],
        {"w2": np.zeros(1 << 20, np.float32), "n": np.array([100], np.int64)},
    )
    found = sizes_of(made.SerializeToString(), tmp_path / "g.onnx")
    assert 1 << 24 < found.folded < MOST.folded
    made.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.zeros(1 << 10, np.float32), "w2"))
    made.graph.initializer[3].CopyFrom(numpy_helper.from_array(np.array([16_000]), "n"))
    assert sizes_of(made.SerializeToString(), tmp_path / "g.onnx").folded > 16_000 << 10
    made.graph.initializer[3].CopyFrom(numpy_helper.from_array(np.array([102_400]), "n"))
    with pytest.raises(ValueError, match=r"Tile -> x: it takes 104,857,600 numbers to compute while it is"):
        sizes_of(made.SerializeToString(), tmp_path / "g.onnx")


def test_weights_that_lie_at_one_place_count_once(tmp_path: Path) -> None:
    size = 1 << 20
    stored = {f"w{i}": external([size // 4], location="weights", length=size) for i in range(60)}
    for name, tensor in stored.items():
        tensor.name = name
    data = model(
        [helper.make_node("Tile", ["w3", "n"], ["x"])], {**stored, "n": np.array([400], np.int64)}
    ).SerializeToString()
    path = tmp_path / "g.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="104,857,600 numbers to compute while it is loaded"):
        graph_sizes(path, INPUTS, {path.name: len(data), "weights": size})


def test_changed_bytes_give_an_error_or_sizes_and_nothing_else(tmp_path: Path) -> None:
    rng = random.Random(0)
    small = [
        made if isinstance(made, bytes) else made.SerializeToString()
        for made in (
            GRAPHS["Range"](),
            GRAPHS["a sparse constant"](),
            *(CASES[name] for name in ("Conv", "Slice", "Resize")),
        )
    ]
    refused = 0
    for _ in range(500):
        data = bytearray(rng.choice(small))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            assert math.isfinite(sizes_of(bytes(data), tmp_path / "g.onnx").work)
        except ValueError as error:
            refused += bool(str(error))
    assert refused > 150


def test_two_names_that_are_no_text_do_not_become_one(tmp_path: Path) -> None:
    """Read as one, the row and the column would be two columns, and their sum small."""
    nodes = [
        helper.make_node(kind, ["latents"], [name]) for kind, name in (("Neg", "row-a"), ("Abs", "row-b"))
    ]
    data = model([*nodes, helper.make_node("Sub", ["row-a", "row-b"], ["x"])], {}).SerializeToString()
    sizes_of(data, tmp_path / "g.onnx")
    with pytest.raises(ValueError, match="a name that is no text"):
        sizes_of(data.replace(b"row-a", b"row-\xfe").replace(b"row-b", b"row-\xff"), tmp_path / "g.onnx")
