"""The ONNX Runtime backend: results, input checks, release, and clear words for engine failures."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.common.errors import BundleError, InvalidInput, RuntimeUnavailable
from moebius_edge.common.machine import sums_overflow
from moebius_edge.common.tensors import Array
from moebius_edge.runtimes import find_runtime, open_runtime, runtimes
from moebius_edge.runtimes.onnxruntime import NO_OVERFLOW, OnnxRuntime, OrtOptions, session_options

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def runtime(make_bundle: MakeBundle) -> OnnxRuntime:
    return OnnxRuntime(make_bundle(), threads=1)


def denoiser_inputs() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "latents": rng.standard_normal((1, 4, 4, 4), dtype=np.float32),
        "mask": np.ones((1, 1, 4, 4), np.float32),
        "masked_latents": rng.standard_normal((1, 4, 4, 4), dtype=np.float32),
        "timestep": np.array([3.0], np.float32),
        "guidance": np.array([2.0], np.float32),
    }


def test_the_three_graphs_run(runtime: OnnxRuntime) -> None:
    image = np.full((1, 3, 8, 8), 0.5, np.float32)
    encoded = runtime.run("encoder", {"image": image})
    assert list(encoded) == ["mean", "std"]
    np.testing.assert_allclose(encoded["mean"], np.full((1, 4, 4, 4), 1.5), rtol=1e-6)
    np.testing.assert_allclose(encoded["std"], encoded["mean"] / 2)
    inputs = denoiser_inputs()
    noise = runtime.run("denoiser", inputs)["noise"]
    np.testing.assert_allclose(noise, inputs["latents"] * 2 + inputs["masked_latents"] + 3, rtol=1e-6)
    decoded = runtime.run("decoder", {"latents": np.full((1, 4, 4, 4), 0.25, np.float32)})["image"]
    np.testing.assert_allclose(decoded, np.full((1, 3, 8, 8), 0.25))


def test_inputs_may_be_views_in_any_order(runtime: OnnxRuntime) -> None:
    inputs = denoiser_inputs()
    expected = runtime.run("denoiser", inputs)["noise"]
    views = {name: value.copy(order="F") for name, value in reversed(inputs.items())}
    np.testing.assert_array_equal(runtime.run("denoiser", views)["noise"], expected)


def test_graphs_load_at_first_use_and_again_after_release(runtime: OnnxRuntime) -> None:
    latents = {"latents": np.zeros((1, 4, 4, 4), np.float32)}
    assert not runtime._sessions
    runtime.release("decoder")  # nothing to release is fine
    first = runtime.run("decoder", latents)["image"]
    assert list(runtime._sessions) == ["decoder"]
    runtime.release("decoder")
    assert not runtime._sessions
    np.testing.assert_array_equal(runtime.run("decoder", latents)["image"], first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestep": None}, r"denoiser got the inputs .*; expected \['guidance', 'latents'"),
        ({"extra": np.zeros(1, np.float32)}, r"got the inputs \['extra'"),
        (
            {"mask": np.ones((1, 1, 4, 5), np.float32)},
            r"mask is float32 \[1, 1, 4, 5\]; expected float32 \[1, 1",
        ),
        ({"mask": np.ones((1, 1, 4, 4))}, r"mask is float64 \[1, 1, 4, 4\]; expected float32"),
        ({"guidance": np.float32(2.0)}, r"guidance is a float32; expected a numpy array"),
        ({"guidance": np.array(2.0, np.float32)}, r"guidance is float32 \[\]; expected float32 \[1\]"),
    ],
)
def test_wrong_inputs_say_what_was_found_and_expected(
    runtime: OnnxRuntime, change: dict[str, Array | None], message: str
) -> None:
    changed = {**denoiser_inputs(), **change}
    inputs = {name: value for name, value in changed.items() if value is not None}
    with pytest.raises(InvalidInput, match=message):
        runtime.run("denoiser", inputs)


def test_unknown_graph(runtime: OnnxRuntime) -> None:
    with pytest.raises(InvalidInput, match="no graph 'upscaler'; the bundle has"):
        runtime.run("upscaler", {})
    with pytest.raises(InvalidInput, match="no graph 'upscaler'"):
        runtime.release("upscaler")


def test_which_cpus_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, machine, expected in (
        ("avx2 avx512_vnni", "x86_64", False),
        ("avx2 avx_vnni", "AMD64", False),
        ("avx2 fma", "x86_64", True),
        ("asimddp", "aarch64", False),
    ):
        (tmp_path / "cpuinfo").write_text(f"flags: {flags}\n")
        monkeypatch.setattr("platform.machine", lambda name=machine: name)
        assert sums_overflow(tmp_path / "cpuinfo") is expected
        assert sums_overflow(tmp_path / "missing") is (machine != "aarch64")  # better slow than wrong


@pytest.mark.parametrize("overflow", [True, False])
def test_sums_are_made_exact_only_where_they_overflow(
    overflow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it does is in tests/calibration/int8/test_qdq.py. With VNNI it would double the time of INT8.
    monkeypatch.setattr("moebius_edge.runtimes.onnxruntime.sums_overflow", lambda: overflow)
    options, (key, value) = session_options(OrtOptions(), None), NO_OVERFLOW
    if overflow:
        assert options.get_session_config_entry(key) == value == "1"
    else:
        with pytest.raises(RuntimeError, match="does not have"):
            options.get_session_config_entry(key)


@pytest.mark.parametrize("threads", [0, -1, 1024])
def test_impossible_threads(make_bundle: MakeBundle, threads: int) -> None:
    with pytest.raises(InvalidInput, match="threads is"):
        OnnxRuntime(make_bundle(), threads=threads)


def test_every_option_gives_the_same_numbers(make_bundle: MakeBundle) -> None:
    bundle, inputs = make_bundle(), denoiser_inputs()
    expected = OnnxRuntime(bundle).run("denoiser", inputs)["noise"]
    for options in (
        OrtOptions(threads=2),
        OrtOptions(threads=1, optimization="none"),
        OrtOptions(optimization="basic", arena=False),
        OrtOptions(optimization="extended", spinning=False),
    ):
        noise = OnnxRuntime(bundle, options=options).run("denoiser", inputs)["noise"]
        np.testing.assert_allclose(noise, expected, rtol=1e-6)


def bundle_with(tmp_path: Path, manifest: Manifest, good: Bundle, **files: bytes) -> Bundle:
    """A copy of `good` with other graph files, hashed as its author would."""
    with staging(tmp_path / "other") as folder:
        for name in good.manifest.files:
            (folder / name).write_bytes(files.get(name.split(".")[0], good.file(name).read_bytes()))
        seal(folder, manifest)
    return Bundle.open(tmp_path / "other")


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x0a" * 1000, b"\xff" * 100])
def test_a_file_that_is_no_graph(
    make_bundle: MakeBundle,
    tmp_path: Path,
    tiny_manifest: Manifest,
    data: bytes,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bundle = bundle_with(tmp_path, tiny_manifest, make_bundle(), decoder=data)
    with pytest.raises(BundleError, match=r"cannot load decoder \(decoder.onnx\)") as caught:
        OnnxRuntime(bundle).run("decoder", {"latents": np.zeros((1, 4, 4, 4), np.float32)})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # the engine's own log stays quiet


def test_a_graph_that_is_not_what_the_manifest_says(
    make_bundle: MakeBundle, tmp_path: Path, tiny_manifest: Manifest
) -> None:
    good = make_bundle()
    bundle = bundle_with(tmp_path, tiny_manifest, good, decoder=good.file("encoder.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"its inputs are \['image'\]; the manifest says \['latents'\]"):
        OnnxRuntime(bundle).run("decoder", {"latents": np.zeros((1, 4, 4, 4), np.float32)})


def test_a_graph_with_another_output_than_the_manifest_says(
    make_bundle: MakeBundle, tmp_path: Path, tiny_manifest: Manifest
) -> None:
    good = make_bundle()
    graph = onnx.load(good.file("decoder.onnx"))
    graph.graph.output[0].name = graph.graph.node[-1].output[0] = "picture"
    bundle = bundle_with(tmp_path, tiny_manifest, good, decoder=graph.SerializeToString())
    with pytest.raises(BundleError, match=r"the outputs of decoder are \{'picture'.* says \{'image'"):
        OnnxRuntime(bundle).run("decoder", {"latents": np.zeros((1, 4, 4, 4), np.float32)})


# Opening by name


def test_the_bundle_names_its_runtime(make_bundle: MakeBundle) -> None:
    runtime = open_runtime(make_bundle(), threads=1)
    assert isinstance(runtime, OnnxRuntime) and runtime.threads == 1


def test_unknown_runtimes(make_bundle: MakeBundle) -> None:
    with pytest.raises(RuntimeUnavailable, match="'abacus' is not known here; known are onnxruntime"):
        open_runtime(make_bundle(), "abacus")
    with pytest.raises(RuntimeUnavailable, match="'later' is not known"):
        open_runtime(make_bundle("b.moebius", runtime="later"))


def test_a_runtime_opens_bundles_of_its_own_engine(make_bundle: MakeBundle) -> None:
    words = (
        "tiny.moebius was made for onnxruntime, whose files {} cannot open; choose one of onnxruntime, torch"
    )
    for name in ("mil", "coreml", "tensorrt"):
        with pytest.raises(RuntimeUnavailable, match=words.format(name)):
            open_runtime(make_bundle(overwrite=True), name)
    with pytest.raises(RuntimeUnavailable, match=r"made for coreml.*choose one of torch, .*coreml, mil"):
        open_runtime(make_bundle("b", target="coreml", runtime="coreml"), "onnxruntime")


def test_a_missing_engine_names_what_to_install(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(find_runtime("onnxruntime"), factory="engine_that_is_not_there:Engine")
    monkeypatch.setitem(runtimes(), "onnxruntime", row)
    with pytest.raises(RuntimeUnavailable, match=r"needs engine_that_is_not_there.*pip install"):
        open_runtime(make_bundle())


def test_the_reference_of_a_local_checkpoint_is_asked_for(make_bundle: MakeBundle) -> None:
    with pytest.raises(RuntimeUnavailable, match="local checkpoint 'tiny'"):
        open_runtime(make_bundle(), "torch")


def test_the_reference_must_have_the_same_weights(
    make_bundle: MakeBundle, tiny_manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moebius_edge.runtimes import reference  # noqa: PLC0415 (needs torch)

    asked: list[tuple[str | None, ...]] = []
    monkeypatch.setattr(reference, "load_checkpoint", lambda *given: asked.append(given))
    monkeypatch.setattr(reference, "weights_sha256", lambda checkpoint: "1" * 64)
    origins = {"unet": f"a/b@{'1' * 40}", "vae": f"c/d@{'2' * 40}"}
    models = (
        replace(tiny_manifest.model, name="nano"),
        replace(tiny_manifest.model, name="places2", source="a/b/places2@v1"),  # an older bundle
        replace(tiny_manifest.model, name="places2", source="a/b/places2@v1", origins=origins),
    )
    for number, model in enumerate(models):
        bundle = make_bundle(f"{number}.moebius", model=model)
        with pytest.raises(RuntimeUnavailable, match="made from other weights"):
            open_runtime(bundle, "torch")
    assert asked == [("nano", None, None), ("places2", "v1", None), ("places2", "1" * 40, "2" * 40)]


# Memory, in a process of its own

MEMORY = """
    import sys
    from pathlib import Path
    import numpy as np
    from moebius_edge.bundle.folder import Bundle
    from moebius_edge.common.memory import trim_memory
    from moebius_edge.runtimes.onnxruntime import OnnxRuntime

    def resident():
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    runtime = OnnxRuntime(Bundle.open(sys.argv[1]), threads=1)
    latents = {"latents": np.zeros((1, 4, 4, 4), np.float32)}
    runtime.run("encoder", {"image": np.zeros((1, 3, 8, 8), np.float32)})
    runtime.release("encoder")
    trim_memory()
    before = resident()
    runtime.run("decoder", latents)
    loaded = resident()
    runtime.release("decoder")
    print(before, loaded, resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_release_gives_the_memory_back(
    make_bundle: MakeBundle, tmp_path: Path, tiny_manifest: Manifest, heavy_decoder: bytes
) -> None:
    good = make_bundle()
    bundle = bundle_with(tmp_path, tiny_manifest, good, decoder=heavy_decoder)
    command = [sys.executable, "-c", textwrap.dedent(MEMORY), str(bundle.folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    before, loaded, after = map(float, output.split())
    assert loaded - before > 180, output  # 200 MB of weights, in MiB
    assert after - before < 30, output


@pytest.fixture
def heavy_decoder(tmp_path: Path, tiny_manifest: Manifest) -> bytes:
    """A decoder that multiplies by 200 MB of matrices on the way."""
    import onnx  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    size, count = 2500, 8
    nodes = [
        helper.make_node("Reshape", ["latents", "flat"], ["x"]),
        helper.make_node("MatMul", ["x", "into"], ["x0"]),
    ]
    weights = {"into": np.zeros((64, size), np.float32)}
    for i in range(count):
        weights[f"w{i}"] = np.zeros((size, size), np.float32)
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]))
    weights["out"] = np.zeros((size, 192), np.float32)
    nodes += [
        helper.make_node("MatMul", [f"x{count}", "out"], ["y"]),
        helper.make_node("Reshape", ["y", "picture"], ["image"]),
    ]
    shapes = {"flat": np.array([1, 64]), "picture": np.array([1, 3, 8, 8])}
    initializers = [numpy_helper.from_array(value, name) for name, value in {**weights, **shapes}.items()]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("latents", (1, 4, 4, 4)), ("image", (1, 3, 8, 8)))
    ]
    graph = helper.make_graph(nodes, "heavy", infos[:1], infos[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(onnx.ModelProto.SerializeToString(model))
