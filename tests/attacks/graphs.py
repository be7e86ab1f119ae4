"""Hostile decoders: ONNX files that would make an engine hang, or take gigabytes, before it refuses them.

Each gives what the manifest says (latents 1 x 4 x 4 x 4 -> image 1 x 3 x 8 x 8), so that nothing but its size
is wrong with it: a small number that follows from the hostile part is added to the picture.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

node = helper.make_node
HUGE = 1 << 33  # elements: 34 GB
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(nodes: Sequence[Any], weights: dict[str, Any], functions: Sequence[Any] = ()) -> onnx.ModelProto:
    """The decoder whose hostile part gives `x`."""
    picture = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("ConvTranspose", ["latents", "w"], ["plain"], strides=[2, 2]),
        node("Add", ["plain", "most"], ["image"]),
    ]
    weights = {"w": np.full((4, 3, 2, 2), 0.25, np.float32), "one": np.ones(1, np.float32), **weights}
    stored = [
        each if isinstance(each, TensorProto) else numpy_helper.from_array(np.asarray(each), name)
        for name, each in weights.items()
    ]
    graph = helper.make_graph(
        [*nodes, *picture],
        "hostile",
        [helper.make_tensor_value_info("latents", FLOAT, [1, 4, 4, 4])],
        [helper.make_tensor_value_info("image", FLOAT, [1, 3, 8, 8])],
        stored,
    )
    opsets = [
        helper.make_opsetid("", 18),
        helper.make_opsetid("x", 1),
        helper.make_opsetid("com.microsoft", 1),
    ]
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=10)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def bare(name: str, dims: Sequence[int], **fields: Any) -> TensorProto:
    """A stored tensor that says it is large, and has no numbers."""
    return TensorProto(name=name, data_type=fields.pop("data_type", FLOAT), dims=dims, **fields)


def external(dims: Sequence[int], **where: Any) -> TensorProto:
    made = bare("x", dims, raw_data=b"")
    set_external_data(made, where.pop("location", "decoder.onnx.data"), **where)
    made.ClearField("raw_data")
    return made


def one(kind: str, inputs: Sequence[str], weights: dict[str, Any], **attributes: Any) -> onnx.ModelProto:
    """One operator."""
    return model([node(kind, inputs, ["x"], **attributes)], weights)


def body(step: Any, level: int) -> Any:
    """The graph of a Loop: counter, condition and one number. `step`: from `s<level>` to `r<level>`."""
    info = helper.make_tensor_value_info
    inputs = [info(f"i{level}", INT64, []), info(f"go{level}", TensorProto.BOOL, [])]
    keep = node("Identity", [f"go{level}"], [f"goes{level}"])
    outputs = [info(f"goes{level}", TensorProto.BOOL, []), info(f"r{level}", FLOAT, [1])]
    return helper.make_graph([step, keep], "body", [*inputs, info(f"s{level}", FLOAT, [1])], outputs)


def loop(trips: int | None, depth: int = 1) -> onnx.ModelProto:
    """Loops inside of each other; None: without end."""
    count = "" if trips is None else "trips"
    step = node("Add", ["s0", "one"], ["r0"])
    for level in range(depth - 1):
        step = node("Loop", [count, "yes", f"s{level + 1}"], [f"r{level + 1}"], body=body(step, level))
    made = node("Loop", [count, "yes", "one"], ["x"], body=body(step, depth - 1))
    return model([made], {"trips": np.array(trips or 0, np.int64), "yes": np.array(True)})


def scan() -> onnx.ModelProto:
    state, item = (helper.make_tensor_value_info(name, FLOAT, [1]) for name in ("s", "item"))
    out = helper.make_tensor_value_info("s1", FLOAT, [1])
    step = helper.make_graph([node("Add", ["s", "item"], ["s1"])], "step", [state, item], [out])
    nodes = [
        node("ConstantOfShape", ["n"], ["items"]),
        node("Scan", ["one", "items"], ["x"], body=step, num_scan_inputs=1),
    ]
    return model(nodes, {"n": ints(1 << 28, 1)})


def branches(depth: int) -> onnx.ModelProto:
    """If inside of If."""
    value = helper.make_tensor_value_info("x", FLOAT, [1])
    inner = helper.make_graph([node("Identity", ["one"], ["x"])], "leaf", [], [value])
    for _ in range(depth):
        made = node("If", ["yes"], ["x"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([made], "branch", [], [value])
    return model(list(inner.node), {"yes": np.array(True)})


def functions(depth: int, calls: int) -> onnx.ModelProto:
    """Functions that call the one before them: inlined they are calls ** depth nodes."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("x", 1)]
    made = [helper.make_function("x", "F0", ["a"], ["b"], [node("Neg", ["a"], ["b"])], opsets)]
    for level in range(1, depth):
        names = ["a", *(f"t{i}" for i in range(calls - 1)), "b"]
        steps = [node(f"F{level - 1}", [before], [after], domain="x") for before, after in pairwise(names)]
        made.append(helper.make_function("x", f"F{level}", ["a"], ["b"], steps, opsets))
    return model([node(f"F{depth - 1}", ["one"], ["x"], domain="x")], {}, made)


def chain(count: int, kind: str = "Neg", start: str = "one", **attributes: Any) -> onnx.ModelProto:
    """Many operators after each other."""
    names = [start, *(f"v{i}" for i in range(count - 1)), "x"]
    return model([node(kind, [a], [b], **attributes) for a, b in pairwise(names)], {})


def doubling(kind: str, start: str, times: int = 40, **attributes: Any) -> onnx.ModelProto:
    """Each operator reads the one before it twice."""
    names = [start, *(f"v{i}" for i in range(times - 1)), "x"]
    nodes = [node(kind, [a, a], [b], **attributes) for a, b in pairwise(names)]
    return model(nodes, {})


def products(side: int, times: int) -> onnx.ModelProto:
    """Large matrices, made while loading, multiplied with each other: small in memory, hours in time."""
    names = ["m", *(f"v{i}" for i in range(times - 1)), "x"]
    nodes = [node("ConstantOfShape", ["n"], ["m"])]
    nodes += [node("MatMul", [a, "m"], [b]) for a, b in pairwise(names)]
    return model(nodes, {"n": ints(side, side)})


def many_alive() -> onnx.ModelProto:
    """Values that are each allowed, and all needed in the end."""
    parts = [f"p{i}" for i in range(64)]
    nodes = [node("ReduceMax", ["latents"], ["seed"], keepdims=1)]
    nodes += [node("Expand", ["seed", "n"], [part]) for part in parts]
    return model([*nodes, node("Max", parts, ["x"])], {"n": ints(1, 1, 1 << 13, 1 << 14)})


def bomb(field: bytes, count: int) -> bytes:
    """Repeat a field of the graph: engines make large objects of small ones."""
    part = field * count
    return good() + b"\x3a" + varint(len(part)) + part


def good() -> bytes:
    return chain(1).SerializeToString()


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def deep(levels: int) -> bytes:
    """Messages inside of each other, beyond any stack: If in If in If ..."""
    nested = b""
    for _ in range(levels):
        attribute = b"\x32" + varint(len(nested)) + nested
        step = b"\x2a" + varint(len(attribute)) + attribute
        nested = b"\x0a" + varint(len(step)) + step
    return good() + b"\x3a" + varint(len(nested)) + nested


def sparse(in_node: bool) -> onnx.ModelProto:
    values = numpy_helper.from_array(np.ones(1, np.float32), "x")
    made = helper.make_sparse_tensor(values, numpy_helper.from_array(ints(0), "index"), [HUGE])
    if in_node:
        return model([node("Constant", [], ["x"], sparse_value=made)], {})
    found = model([], {})
    found.graph.sparse_initializer.append(made)
    return found


def merged() -> bytes:
    """A constant in two parts, which protobuf joins: the sides of both count."""
    made = node("Constant", [], ["x"], value=bare("v", [1 << 17]))
    part = onnx.AttributeProto(t=bare("v", [1 << 17])).SerializeToString()
    whole = model([made], {})
    first = made.attribute[0].SerializeToString()
    step = made.SerializeToString()
    joined = step.replace(
        b"\x2a" + varint(len(first)) + first, b"\x2a" + varint(len(first + part)) + first + part
    )
    return joined_graph(whole, step, joined)


def joined_graph(whole: onnx.ModelProto, old: bytes, new: bytes) -> bytes:
    """The file with other bytes for one of its nodes."""
    graph = whole.graph.SerializeToString()
    changed = graph.replace(b"\x0a" + varint(len(old)) + old, b"\x0a" + varint(len(new)) + new)
    assert changed != graph
    whole.ClearField("graph")
    return whole.SerializeToString() + b"\x3a" + varint(len(changed)) + changed


ROWS = np.zeros((1, 1 << 12), np.float32)
GRAPHS: dict[str, Callable[[], onnx.ModelProto | bytes]] = {
    # Control flow and nesting
    "loop of 2^62": lambda: loop(1 << 62),
    "loop of 2^62, 8 deep": lambda: loop(1 << 62, 8),
    "loop without end": lambda: loop(None),
    "scan over 2^28": scan,
    "if, 2 deep": lambda: branches(2),
    "if, 12 deep": lambda: branches(12),
    "messages 3,000 deep": lambda: deep(3000),
    "40 functions, 2^40 nodes": lambda: functions(40, 2),
    "1,000 functions": lambda: functions(1000, 1),
    # Many of something
    "300,000 nodes": lambda: chain(300_000),
    "300,000 nodes of the inputs": lambda: chain(300_000, start="latents"),
    "10 million value infos": lambda: bomb(b"\x6a\x00", 10_000_000),
    "10 million metadata": lambda: bomb(b"\x82\x01\x00", 10_000_000),
    "10 million annotations": lambda: bomb(b"\x72\x00", 10_000_000),
    "10 million inputs": lambda: bomb(b"\x5a\x00", 10_000_000),
    "10 million tensors": lambda: bomb(b"\x2a\x00", 10_000_000),
    "split in 100,000": lambda: model(
        [node("Split", ["big"], ["x", *(f"o{i}" for i in range(99_999))], num_outputs=100_000)],
        {"big": np.zeros(100_000, np.float32)},
    ),
    "a shape of 1,000 sides": lambda: one("Reshape", ["one", "s"], {"s": np.ones(1000, np.int64)}),
    "an attribute of 2 million numbers": lambda: one("Transpose", ["one"], {}, perm=[0] * 2_000_000),
    # Constants that grow
    "ConstantOfShape": lambda: one("ConstantOfShape", ["n"], {"n": ints(HUGE)}),
    "ConstantOfShape of 2^62": lambda: one("ConstantOfShape", ["n"], {"n": ints(1 << 62)}),
    "ConstantOfShape that overflows": lambda: one("ConstantOfShape", ["n"], {"n": ints(1 << 32, 1 << 32)}),
    "ConstantOfShape by Shape": lambda: model(
        [
            node("Shape", ["latents"], ["s"]),
            node("Mul", ["s", "k"], ["n"]),
            node("ConstantOfShape", ["n"], ["x"]),
        ],
        {"k": ints(1, 1 << 10, 1 << 10, 1 << 9)},
    ),
    "Constant, then ConstantOfShape": lambda: model(
        [node("Constant", [], ["n"], value_ints=[HUGE]), node("ConstantOfShape", ["n"], ["x"])], {}
    ),
    "Expand": lambda: one("Expand", ["one", "n"], {"n": ints(HUGE)}),
    "Tile": lambda: one("Tile", ["one", "n"], {"n": ints(HUGE)}),
    "Range": lambda: one(
        "Range", ["a", "b", "c"], {"a": np.float32(0), "b": np.float32(1e11), "c": np.float32(1)}
    ),
    "Range of tiny steps": lambda: one(
        "Range", ["a", "b", "c"], {"a": np.float32(0), "b": np.float32(1), "c": np.float32(1e-12)}
    ),
    "Pad": lambda: one("Pad", ["one", "n"], {"n": ints(0, HUGE)}),
    "Resize": lambda: one(
        "Resize",
        ["r", "", "f"],
        {"r": np.ones((1, 1, 2, 2), np.float32), "f": np.array([1, 1, 1e5, 1e5], np.float32)},
    ),
    "Concat, doubling": lambda: doubling("Concat", "one", axis=0),
    "Add of a row and a column": lambda: one(
        "Add", ["a", "b"], {"a": np.zeros((1, 1 << 17), np.float32), "b": np.zeros((1 << 17, 1), np.float32)}
    ),
    "MatMul of a column and a row": lambda: one(
        "MatMul",
        ["a", "b"],
        {"a": np.zeros((1 << 17, 1), np.float32), "b": np.zeros((1, 1 << 17), np.float32)},
    ),
    "Einsum": lambda: one(
        "Einsum", ["a", "a", "a"], {"a": np.zeros(1 << 11, np.float32)}, equation="i,j,k->ijk"
    ),
    "Gather": lambda: model(
        [
            node("ConstantOfShape", ["n"], ["i"], value=numpy_helper.from_array(ints(0))),
            node("Gather", ["rows", "i"], ["x"]),
        ],
        {"n": ints(1 << 21), "rows": ROWS},
    ),
    "OneHot": lambda: one(
        "OneHot",
        ["i", "d", "v"],
        {"i": np.zeros(1 << 13, np.int64), "d": ints(1 << 20), "v": np.array([0, 1], np.float32)},
    ),
    "EyeLike": lambda: model(
        [node("ConstantOfShape", ["n"], ["s"]), node("EyeLike", ["s"], ["x"])], {"n": ints(1 << 15, 1 << 15)}
    ),
    "RandomNormal": lambda: one("RandomNormal", [], {}, shape=[1 << 16, 1 << 16]),
    "HannWindow": lambda: one("HannWindow", ["n"], {"n": np.array(1 << 31, np.int64)}),
    "ConvTranspose": lambda: one(
        "ConvTranspose",
        ["r", "k"],
        {"r": np.ones((1, 1, 2, 2), np.float32), "k": np.ones((1, 1, 2, 2), np.float32)},
        strides=[1 << 17, 1 << 17],
    ),
    "LSTM": lambda: model(
        [node("ConstantOfShape", ["n"], ["s"]), node("LSTM", ["s", "wl", "rl"], ["x"], hidden_size=4)],
        {
            "n": ints(1 << 26, 1, 1),
            "wl": np.ones((1, 16, 1), np.float32),
            "rl": np.ones((1, 16, 4), np.float32),
        },
    ),
    "MatMul for hours": lambda: products(1 << 13, 1000),
    "Cast of 2^27, 40 times": lambda: model(
        [
            node("ConstantOfShape", ["n"], ["m"]),
            *(node("Neg", ["m" if i == 0 else f"v{i}"], [f"v{i + 1}" if i < 39 else "x"]) for i in range(40)),
        ],
        {"n": ints(1 << 27)},
    ),
    # What is computed when it runs
    "Expand of an input": lambda: one("Expand", ["latents", "n"], {"n": ints(1 << 29, 4, 4, 4)}),
    "Tile of an input": lambda: one("Tile", ["latents", "n"], {"n": ints(1 << 28, 1, 1, 1)}),
    "Pad of an input": lambda: one("Pad", ["latents", "n"], {"n": ints(0, 0, 0, 0, 0, 0, 1 << 16, 1 << 16)}),
    "Concat of an input, doubling": lambda: doubling("Concat", "latents", axis=0),
    "many values of 2^27": many_alive,
    "MaxPool over 2^28": lambda: one(
        "MaxPool", ["latents"], {}, kernel_shape=[1 << 20, 1 << 20], pads=[1 << 19] * 4
    ),
    "Conv with pads": lambda: one(
        "Conv", ["latents", "k"], {"k": np.ones((1, 4, 1, 1), np.float32)}, pads=[1 << 16] * 4
    ),
    "NonZero": lambda: model([node("NonZero", ["latents"], ["z"]), node("Cast", ["z"], ["x"], to=FLOAT)], {}),
    "an operator that nobody knows": lambda: one("Abacus", ["latents"], {}, domain="x"),
    # Stored tensors
    "a tensor without its numbers": lambda: model([], {"x": bare("x", [HUGE])}),
    "a constant without its numbers": lambda: one("Constant", [], {}, value=bare("v", [HUGE])),
    "sides that overflow to 0": lambda: model([], {"x": bare("x", [1 << 32, 1 << 32], raw_data=b"")}),
    "a negative side": lambda: model([], {"x": bare("x", [-4], raw_data=bytes(16))}),
    "a tensor of strings": lambda: model([], {"x": bare("x", [HUGE], data_type=TensorProto.STRING)}),
    "a constant in two parts": merged,
    "4 bits, 2^33 of them": lambda: model(
        [], {"x": bare("x", [HUGE], data_type=TensorProto.INT4, int32_data=[1])}
    ),
    "a sparse tensor": lambda: sparse(False),
    "a sparse constant": lambda: sparse(True),
    "weights outside the bundle": lambda: model([], {"x": external([4], location="../secret", length=16)}),
    "weights beyond their file": lambda: model([], {"x": external([4], offset=1 << 40, length=16)}),
    "weights before their file": lambda: model([], {"x": external([4], offset=-16, length=16)}),
    "weights of 34 GB in 64 bytes": lambda: model([], {"x": external([HUGE])}),
    "weights longer than they say": lambda: model([], {"x": external([HUGE], offset=0, length=16)}),
}
