"""The manifest: canonical bytes, and one clear refusal for everything that is not exactly the schema."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from moebius_edge.bundle.manifest import FileEntry, Manifest, parse, signed_bytes
from moebius_edge.bundle.names import check_name
from moebius_edge.common.errors import BundleError
from moebius_edge.common.strictjson import JSONError


@pytest.fixture
def manifest(tiny_manifest: Manifest) -> Manifest:
    names = ["capsule.safetensors", "decoder.onnx", "denoiser.onnx", "encoder.onnx"]
    return replace(tiny_manifest, files={name: FileEntry(1, "a" * 64) for name in names})


def edited(manifest: Manifest, change: Callable[[dict[str, Any]], None]) -> bytes:
    value = json.loads(manifest.to_bytes())
    change(value)
    return signed_bytes(value)


def test_round_trip_is_exact_and_canonical(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert parse(data) == manifest
    assert parse(data).to_bytes() == data
    assert data.endswith(b"}\n") and data.isascii()
    assert b"0.3333333333333333" in data  # the shortest text that reads back as the same double


def test_one_changed_byte_anywhere_is_refused(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    for position in range(len(data)):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(BundleError):
            parse(changed)
    for changed in (data + b"\n", data.replace(b"\n", b"\r\n"), data.replace(b"1.25", b"1.35")):
        assert changed != data
        with pytest.raises(BundleError, match="damaged or edited"):
            parse(changed)


def test_a_solver_that_is_not_known_is_read(manifest: Manifest) -> None:
    newer = replace(manifest, scheduler=replace(manifest.scheduler, solver="of-tomorrow"))
    assert parse(newer.to_bytes()) == newer


def test_its_own_checksum_is_what_the_format_says(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    digest = json.loads(data)["manifest_sha256"]
    assert hashlib.sha256(data.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


def test_what_was_downloaded_is_kept_and_missing_in_older_bundles(manifest: Manifest) -> None:
    origins = {"unet": f"hustvl/Moebius@{'1' * 40}", "vae": f"hustvl/PixelHacker@{'2' * 40}"}
    downloaded = replace(manifest, model=replace(manifest.model, origins=origins))
    assert parse(downloaded.to_bytes()) == downloaded
    assert parse(edited(downloaded, lambda m: m["model"].pop("origins"))) == manifest


REFUSED: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (lambda m: m.update(format="other"), "format"),
    (lambda m: m.pop("format"), "format"),
    (lambda m: m.update(schema_version=2), "schema version 2 is not known; this moebius-edge reads 3"),
    (lambda m: m.update(schema_version=4), "schema version 4"),
    (lambda m: m.update(schema_version=True), "schema version True"),
    (lambda m: m.update(schema_version=3.0), "schema version 3.0"),
    (lambda m: m.pop("target"), "lacks 'target'"),
    (lambda m: m.update(surprise=1), "unknown field 'surprise'"),
    (lambda m: m["model"].pop("license"), "lacks 'license'"),
    (lambda m: m["model"].update(name="a\nb"), "printable"),
    (lambda m: m["model"].update(name="\x1b[2J"), "printable"),
    (lambda m: m["model"].update(name="\ud800"), "printable"),
    (lambda m: m["model"].update(name="x" * 5000), "printable"),
    (lambda m: m["model"].update(parameters=-1), "parameters"),
    (lambda m: m["model"].update(origins={"unet": "a/b@main"}), "REPOSITORY@COMMIT"),
    (lambda m: m["model"].update(origins={"text": f"a/b@{'1' * 40}"}), "unet and vae alone"),
    (lambda m: m["model"].update(origins=None), "expected an object"),
    (lambda m: m["model"].update(parameters=1.5), "expected an integer"),
    (lambda m: m["model"].update(parameters=True), "expected a number"),
    (lambda m: m["model"].update(parameters=2**60), "too large"),
    (lambda m: m["model"].update(weights_sha256="A" * 64), "weights_sha256"),
    (lambda m: m["model"]["config"].update(num_heads=0), "config"),
    (lambda m: m["model"]["vae"].update(block_out_channels=[8] * 400), "at most 8"),
    (lambda m: m["model"]["config"].update(latent_size=8), "latent_size is 4"),
    (lambda m: m.update(resolution=16), "resolution is 16"),
    (lambda m: m["model"]["vae"].update(block_out_channels=[]) or m.update(resolution=0), "resolution is 0"),
    (lambda m: m.update(target="Up/Down"), "target"),
    (lambda m: m.update(graph="other"), "graph must be"),
    (lambda m: m["graphs"].pop("decoder"), "graphs must be exactly"),
    (lambda m: m["graphs"].update(extra=m["graphs"]["decoder"]), "graphs must be exactly"),
    (lambda m: m["graphs"]["decoder"]["inputs"][0].update(shape=[1, 4, 5, 4]), "graphs.decoder.inputs"),
    (lambda m: m["graphs"]["decoder"]["inputs"][0].update(name="x"), "graphs.decoder.inputs"),
    (
        lambda m: m["graphs"]["decoder"]["inputs"].append(m["graphs"]["decoder"]["inputs"][0]),
        "decoder.inputs",
    ),
    (lambda m: m["graphs"]["decoder"]["inputs"][0].update(dtype="int8"), "'int8'"),
    (lambda m: m["graphs"]["decoder"].update(file="../decoder.onnx"), "not allowed"),
    (lambda m: m["graphs"]["decoder"].update(file="other.onnx"), "not among its files"),
    (lambda m: m["graphs"]["decoder"].update(macs=-1), "macs"),
    (lambda m: m["scheduler"].update(coefficients=[]), "coefficients"),
    (lambda m: m["scheduler"]["coefficients"].reverse(), "falling"),
    (lambda m: m["scheduler"]["coefficients"][0].update(timestep=1000), "falling"),
    (lambda m: m["scheduler"]["coefficients"][0].update(a="1"), "expected a number"),
    (lambda m: m["scheduler"]["coefficients"][0].pop("c"), "lacks 'c'"),
    (lambda m: m["scheduler"]["coefficients"][0].update(r=0.0), "unknown field 'r'"),
    (lambda m: m["scheduler"].pop("solver"), "lacks 'solver'"),
    (lambda m: m["scheduler"].update(solver="DDIM"), "scheduler.solver must be a lower-case identifier"),
    (lambda m: m["scheduler"]["start"].update(timestep=1), "start"),
    (lambda m: m["defaults"].update(strength=0), "strength"),
    (lambda m: m["defaults"].update(guidance=-1), "must be 0 to 100"),
    (lambda m: m["defaults"].update(guidance=101), "must be 0 to 100"),
    (lambda m: m["defaults"].update(noise_offset=2), "noise_offset 0 to 1"),
    (lambda m: m["scheduler"].update(beta_start=0.9999999, beta_end=0.99999999), "signal's variance"),
    (lambda m: m["scheduler"].update(prediction="v_prediction"), "prediction is 'v_prediction'"),
    (lambda m: m.update(capsule="decoder.safetensors"), "capsule"),
    (lambda m: m["files"].update({"decoder.onnx": {"size": -1, "sha256": "a" * 64}}), "-1 bytes"),
    (lambda m: m["files"].update({"decoder.onnx": {"size": 10**10, "sha256": "a" * 64}}), "10,000,000,000"),
    (lambda m: m["files"].update({"decoder.onnx": {"size": 1, "sha256": "a" * 63}}), "SHA-256"),
    (lambda m: m["files"].update({"Decoder.onnx": m["files"]["decoder.onnx"]}), "only in case"),
    (lambda m: m["files"].update({"decoder.onnx/x": m["files"]["decoder.onnx"]}), "as a folder"),
    (lambda m: m["files"].update({"manifest.json": m["files"]["decoder.onnx"]}), "cannot list itself"),
    (lambda m: m["files"].update({f"f{i}": m["files"]["decoder.onnx"] for i in range(5000)}), "more than"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_impossible_values_are_refused(
    manifest: Manifest, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(BundleError, match=r"^manifest\.json: ") as caught:
        parse(edited(manifest, change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../x",
        "a//x",
        "./x",
        "a\\x",
        "C:x",
        "C:\\x",
        "a\x00b",
        "a b",
        "é",
        ".hidden",
        "a/.hidden",
        "nul",
        "NUL.txt",
        "com1",
        "dot.",
        "-rf",
        "a/",
        "x" * 200,
        "/".join("abcdefghij"),
    ],
)
def test_file_names_that_could_leave_the_folder_are_refused(manifest: Manifest, name: str) -> None:
    with pytest.raises(JSONError):
        check_name(name)
    with pytest.raises(BundleError):
        parse(edited(manifest, lambda m: m["files"].update({name: m["files"]["decoder.onnx"]})))


@pytest.mark.parametrize(
    "name", ["encoder.onnx", "a.mlpackage/Data/com.apple.CoreML/weights/weight.bin", "_x-1.0"]
)
def test_plain_relative_names_are_allowed(name: str) -> None:
    check_name(name)


def test_every_truncation_is_refused(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    for length in range(0, len(data) - 1, 7):
        with pytest.raises(BundleError):
            parse(data[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{" * 100_000,
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b" " * (2 << 20),
        b"9" * 100_000,
    ],
)
def test_exhausting_json_is_refused_quickly(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises(BundleError):
        parse(data)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_numbers_are_refused(manifest: Manifest, number: str) -> None:
    data = manifest.to_bytes().replace(b"0.3333333333333333", number.encode())
    assert data != manifest.to_bytes()
    with pytest.raises(BundleError, match=r"not a number|out of range"):
        parse(data)


def test_duplicate_keys_are_refused(manifest: Manifest) -> None:
    data = manifest.to_bytes().replace(b'"target": "ort"', b'"target": "ort", "target": "other"')
    with pytest.raises(BundleError, match="'target' appears twice"):
        parse(data)
