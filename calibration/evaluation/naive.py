"""Quantize with the engine's own tool, to compare: `python -m moebius_edge.calibration.evaluation.naive`.

Runs `onnxruntime.quantization.quantize_static` with its defaults (QDQ, s8 activations and weights, one scale
per tensor, smallest and largest values) on the denoiser of an FP32 bundle, calibrated on the samples that
this project's INT8 is calibrated on. The result is a bundle, for `profile --against` and
`calibration.evaluation.evaluate`.
"""

import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnxruntime.quantization import quantize_static

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.calibration.activations.calibrate import draw_pairs, follow
from moebius_edge.calibration.activations.data import CalibrationOptions, Sample
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import explained
from moebius_edge.common.scripts import script_parser
from moebius_edge.common.silence import silenced
from moebius_edge.onnx_tools.external_data import save
from moebius_edge.onnx_tools.sessions import engine_errors
from moebius_edge.runtimes.external_data import graph_files


class Samples:
    """Denoiser inputs one by one: what the engine calls a CalibrationDataReader."""

    def __init__(self, samples: list[Sample]) -> None:
        self.rest: Iterator[Sample] = iter(samples)

    def get_next(self) -> Sample | None:
        """Return the next inputs; None after the last."""
        return next(self.rest, None)


def naive(source: Path, output: Path, options: CalibrationOptions) -> Bundle:
    """Write a copy of the bundle `source` whose denoiser the engine's tool has quantized, and open it.

    Raises InvalidInput when `source` is no FP32 bundle of ONNX graphs.
    """
    bundle = Bundle.open(source)
    manifest = bundle.manifest
    graphs = {name: manifest.graphs[name].file for name in GRAPH_NAMES}
    if manifest.precision != "fp32" or not all(file.endswith(".onnx") for file in graphs.values()):
        raise InvalidInput(
            f"{source} is {manifest.precision} for {manifest.target}; expected an fp32 bundle for ort"
        )
    pairs = draw_pairs(None, manifest.resolution, options)
    with staging(output) as folder, engine_errors(f"the engine cannot quantize {source}"):
        models = {name: onnx.load(bundle.file(file)) for name, file in graphs.items()}
        samples = follow(models, pairs, options).samples["denoiser"]
        separate_weights(models["denoiser"])
        for name in manifest.files.keys() - graph_files(bundle, "denoiser"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.file(name), folder / name)
        with TemporaryDirectory(dir=folder) as scratch:
            renamed = Path(scratch) / "denoiser.onnx"
            onnx.save(models.pop("denoiser"), renamed, save_as_external_data=True)
            # A name that is nowhere else: the engine refuses one whose weights are in the current folder.
            quantized = Path(scratch) / f"{Path(scratch).name}.onnx"
            with silenced(""):  # its advice to preprocess the graph first, which would be no default any more
                quantize_static(renamed, quantized, Samples(samples), use_external_data_format=True)
            made = folder / graphs["denoiser"]  # the file that the manifest names
            made.parent.mkdir(parents=True, exist_ok=True)
            save(onnx.load(quantized), made)
        seal(folder, replace(manifest, precision="int8", files={}))
    return Bundle.open(output)


def separate_weights(model: onnx.ModelProto) -> None:
    """Give each node weights of its own, by copying those that several nodes read.

    The engine's tool copies a bias that several nodes read by appending a number to its name, and "val_26"
    with a 6 is the name of an activation. On x86 without VNNI the engine cannot load a quantized weight that
    several nodes read.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    count: Counter[str] = Counter()
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name in weights:
                node.input[place] = f"{name}#{count[name]}"
                count[name] += 1
    for name, tensor in weights.items():
        for number in range(1, count[name]):
            model.graph.initializer.add().CopyFrom(tensor)
            model.graph.initializer[-1].name = f"{name}#{number}"
        tensor.name = f"{name}#0"


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exit code 2 for what cannot be used."""
    parser = script_parser("moebius_edge.calibration.evaluation.naive", __doc__)
    parser.add_argument("fp32", type=Path, help="an FP32 bundle for ort")
    parser.add_argument("output", type=Path, help="the bundle to write")
    parser.add_argument("--edits", type=int, default=12, help="photos with holes whose loop is followed")
    parser.add_argument("--steps-per-edit", type=int, default=5, help="steps of each that are looked at")
    given = parser.parse_args(arguments)
    with explained():
        options = CalibrationOptions(edits=given.edits, steps_per_edit=given.steps_per_edit)
        naive(given.fp32, given.output, options)
        pair = shlex.join([str(given.fp32), str(given.output)])
        print(f"wrote {given.output}")
        print(f"next: python -m moebius_edge.calibration.evaluation.evaluate {pair} --photos DIR")


if __name__ == "__main__":
    main()
