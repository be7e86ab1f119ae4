"""Write integer weights into a graph, in one of two encodings that give the same numbers, to the bit.

* `arithmetic`: Cast and Mul; 4-bit numbers lie two to a byte and are taken apart by Floor, Mul and Sub. Any
  opset, and an engine that folds constants does all of it once, when it loads: it then runs at FP32 speed.
* `dequantize`: DequantizeLinear, which engines recognise: opset 18 for 8 bits, 21 (int4 and blocks) for 4.
  ONNX Runtime does not fold it but runs it at every call, and some of the matmuls as MatMulNBits, which also
  rounds their inputs: on nano 15 % (8 bits) to 30 % slower and, at 8 bits, 4 dB worse. Its session option
  `session.disable_quant_qdq=1` makes it fold.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.weights.scales import SCALE_TYPES, Bits, pack_nibbles
from moebius_edge.common.tensors import Array

WeightEncoding = Literal["arithmetic", "dequantize"]
NIBBLE_ZERO = 8  # 4-bit numbers are stored from 0 to 15


@dataclass
class Written:
    """The nodes that make a weight (the last one's output) and the constants that they need."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: Array) -> str:
        """Add an initializer and return its name."""
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: int) -> str:
        """Add a node and return the name of its output."""
        made = helper.make_node(operator, inputs, [output], name=output)
        made.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(made)
        return output


@dataclass(frozen=True)
class Integers:
    """A quantized weight."""

    name: str  # of the float weight: the nodes' last output
    values: NDArray[np.int8]  # of the weight's shape
    scales: NDArray[np.float32]  # [channels], or the weight's shape with `axis` divided by `block`
    axis: int
    block: int  # 0: one scale per channel of `axis`
    bits: Bits

    def floats(self) -> NDArray[np.float32]:
        """Return the weight that an engine computes with."""
        if self.block:
            scales = np.repeat(self.scales, self.block, axis=self.axis)
        else:
            others = [axis for axis in range(self.values.ndim) if axis != self.axis]
            scales = np.expand_dims(self.scales, others)
        return self.values.astype(np.float32) * scales


def opset(encoding: WeightEncoding, bits: Bits) -> int:
    """Return the oldest opset that has what the encoding needs."""
    return 21 if encoding == "dequantize" and bits == 4 else 13


def dequantized(weight: Integers, encoding: WeightEncoding) -> Written:
    """Return the nodes whose output `weight.name` is the float32 weight."""
    written = Written()
    if encoding == "dequantize":
        _by_operator(weight, written)
    else:
        _by_arithmetic(weight, written)
    return written


def _by_operator(weight: Integers, written: Written) -> None:
    name = weight.name
    if weight.bits == 8:
        written.constant(f"{name}.integers", weight.values)
    else:
        packed = pack_nibbles((weight.values & 0x0F).astype(np.uint8), halves=False)
        written.tensors.append(
            helper.make_tensor(
                f"{name}.integers", TensorProto.INT4, weight.values.shape, packed.tobytes(), raw=True
            )
        )
    inputs = [f"{name}.integers", _scales(weight, weight.scales, written)]
    if weight.bits == 8:
        # Zeros may be left out, but where ONNX Runtime makes u8 of s8 (`exact_sums`), it adds one for all.
        written.constant(f"{name}.zeros", np.zeros(weight.scales.shape, np.int8))
        inputs.append(f"{name}.zeros")
    attributes = {"axis": weight.axis} | ({"block_size": weight.block} if weight.block else {})
    written.node("DequantizeLinear", inputs, name, **attributes)


def _by_arithmetic(weight: Integers, written: Written) -> None:
    name, shape = weight.name, weight.values.shape
    if weight.bits == 8:
        written.constant(f"{name}.integers", weight.values)
        numbers = written.node("Cast", [f"{name}.integers"], f"{name}.numbers", to=TensorProto.FLOAT)
    else:
        numbers = _nibbles(weight, written)
    if not weight.block:
        shaped = np.expand_dims(weight.scales, [axis for axis in range(len(shape)) if axis != weight.axis])
        written.node("Mul", [numbers, _scales(weight, shaped, written)], name)
        return
    axis = weight.axis
    split = (*shape[:axis], shape[axis] // weight.block, weight.block, *shape[axis + 1 :])
    blocks = written.constant(f"{name}.split", np.array(split, np.int64))
    numbers = written.node("Reshape", [numbers, blocks], f"{name}.blocks")
    scales = _scales(weight, np.expand_dims(weight.scales, axis + 1), written)
    scaled = written.node("Mul", [numbers, scales], f"{name}.scaled")
    whole = written.constant(f"{name}.shape", np.array(shape, np.int64))
    written.node("Reshape", [scaled, whole], name)


def _scales(weight: Integers, scales: Array, written: Written) -> str:
    """Write the scales and return them as float32; those that were fitted as float16 are stored so."""
    stored = written.constant(f"{weight.name}.scales", scales.astype(SCALE_TYPES[weight.bits]))
    if SCALE_TYPES[weight.bits] is np.float32:
        return stored
    return written.node("Cast", [stored], f"{stored}.fp32", to=TensorProto.FLOAT)


def _nibbles(weight: Integers, written: Written) -> str:
    """Write bytes and nodes that make of them the numbers from -8 to 7, flat."""
    name = weight.name
    flat = (weight.values.ravel() + np.int8(NIBBLE_ZERO)).astype(np.uint8)
    written.constant(f"{name}.integers", pack_nibbles(flat, halves=True))
    # Every number here is a multiple of 1/16 below 256: float32 holds each of them exactly.
    both = written.node("Cast", [f"{name}.integers"], f"{name}.bytes", to=TensorProto.FLOAT)
    sixteenth = written.constant(f"{name}.sixteenth", np.array(1 / 16, np.float32))
    high = written.node("Floor", [written.node("Mul", [both, sixteenth], f"{name}.parts")], f"{name}.high")
    sixteen = written.constant(f"{name}.sixteen", np.array(16, np.float32))
    low = written.node("Sub", [both, written.node("Mul", [high, sixteen], f"{name}.rest")], f"{name}.low")
    pairs = written.node("Concat", [low, high], f"{name}.pairs", axis=0)
    zero = written.constant(f"{name}.zero", np.array(NIBBLE_ZERO, np.float32))
    return written.node("Sub", [pairs, zero], f"{name}.numbers")
