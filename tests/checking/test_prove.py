"""Proofs: what is measured where a bundle runs, and how it comes back into the manifest."""

import errno
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moebius_edge.bundle.folder import Bundle, rewritten
from moebius_edge.bundle.manifest import MANIFEST_NAME, FileEntry
from moebius_edge.bundle.proofs import MAX_PROOFS, GraphProof, Proof, UnitProof, files_sha256, read
from moebius_edge.checking.prove import attach
from moebius_edge.common.errors import BundleError, InvalidInput, RuntimeUnavailable

CORE_ML = {"target": "coreml", "runtime": "coreml"}
GRAPH = GraphProof(95.5, 12.0, 13.5, 900.0, {"NeuralEngine": 200, "CPU": 2})


def proof_of(bundle: Bundle, chip: str = "Apple M9", ok: bool = True) -> Proof:
    graphs = dict.fromkeys(("encoder", "denoiser", "decoder"), GRAPH)
    unit = UnitProof("CPU_AND_NE", ok, () if ok else ("too slow",), 59.5, graphs)
    return Proof(
        files_sha256=files_sha256(bundle.manifest.files),
        runtime="coreml",
        precision="fp32",
        machine={"processor": chip, "system": "Darwin arm64"},
        versions={"moebius-edge": "0.1.0", "coremltools": "9.0"},
        runs=10,
        units=(unit,),
    )


def test_a_proof_comes_back_into_the_manifest(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle(**CORE_ML)
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof_of(bundle).to_json()))
    kept = attach(bundle, read(path))
    assert kept.manifest.proofs == (proof_of(bundle),)
    assert kept.manifest.files == bundle.manifest.files
    # Of another machine beside it; of the same machine in its place.
    both = attach(attach(kept, proof_of(bundle, "Apple A20")), proof_of(bundle, ok=False))
    assert [each.machine["processor"] for each in both.manifest.proofs] == ["Apple A20", "Apple M9"]
    assert [each.ok for each in both.manifest.proofs] == [True, False]


def test_a_proof_of_other_files_is_refused(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(**CORE_ML)
    before = (bundle.folder / MANIFEST_NAME).read_bytes()
    with pytest.raises(InvalidInput, match="of other files than those of tiny"):
        attach(bundle, replace(proof_of(bundle), files_sha256="0" * 64))
    with pytest.raises(InvalidInput, match="the bundle is fp32"):
        attach(bundle, replace(proof_of(bundle), precision="int8"))
    for runtime, words in (("abacus", "is not known here"), ("onnxruntime", "cannot open")):
        with pytest.raises(RuntimeUnavailable, match=words):
            attach(bundle, replace(proof_of(bundle), runtime=runtime))
    assert (bundle.folder / MANIFEST_NAME).read_bytes() == before


def test_a_byte_more_is_another_bundle(make_bundle: Callable[..., Bundle]) -> None:
    one, other = make_bundle("one", **CORE_ML), make_bundle("other", **CORE_ML)
    files = dict(other.manifest.files)
    name = next(iter(files))
    digest = ("0" if files[name].sha256[0] != "0" else "1") + files[name].sha256[1:]
    changed = replace(other.manifest, files={**files, name: replace(files[name], sha256=digest)})
    assert files_sha256(changed.files) != files_sha256(other.manifest.files)
    with pytest.raises(InvalidInput, match="of other files"):
        attach(one, replace(proof_of(one), files_sha256=files_sha256(changed.files)))
    # The format: apps compute the same (docs/devices.md).
    files = {"b": FileEntry(1, "1" * 64), "a": FileEntry(2, "2" * 64)}
    listing = f"a {'2' * 64}\nb {'1' * 64}\n"
    assert files_sha256(files) == hashlib.sha256(listing.encode()).hexdigest()


def test_a_proof_that_contradicts_itself(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle(**CORE_ML)
    (unit,) = proof_of(bundle).units

    def refused(words: str, *units: UnitProof) -> None:
        with pytest.raises(InvalidInput, match=words):
            attach(bundle, replace(proof_of(bundle), units=units))
        assert Bundle.open(bundle.folder).manifest.proofs == ()

    refused("each once", unit, unit)
    refused("each once", replace(unit, unit="TPU"))
    refused("is ok, with hole at 12 dB", replace(unit, hole_db=12.0))
    low = {**unit.graphs, "denoiser": replace(GRAPH, db=-200.0)}
    refused("is ok, with denoiser at -200 dB", replace(unit, graphs=low))
    attach(bundle, replace(proof_of(bundle), units=(replace(unit, ok=False, failures=("x",), graphs=low),)))
    for change in ({"hole_db": None}, {"hole_db": 1e308}):
        with pytest.raises(ValueError, match="in the hole"):
            replace(unit, **change)
    for change in ({"p50_ms": 99.0}, {"devices": {"CPU": -5}}):
        with pytest.raises(ValueError, match="cannot be"):
            replace(GRAPH, **change)


def test_a_bundle_on_another_disk(
    make_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that has it mounted: a file beside it cannot be renamed into it."""
    bundle = make_bundle(**CORE_ML)
    rename = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self.parent != bundle.folder:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", across)
    (tmp_path / "link").symlink_to(bundle.folder)
    attach(Bundle.open(tmp_path / "link"), proof_of(bundle))
    assert len(Bundle.open(bundle.folder).manifest.proofs) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "tiny.moebius"]


def test_there_is_room_for_so_many(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(**CORE_ML)
    many = tuple(proof_of(bundle, f"chip {number}") for number in range(MAX_PROOFS))
    full = rewritten(bundle, lambda manifest: replace(manifest, proofs=many))
    with pytest.raises(InvalidInput, match="holds 16 proofs"):
        attach(full, proof_of(bundle))
    assert Bundle.open(bundle.folder).manifest.proofs == many


def test_the_largest_proofs_fit_into_a_manifest(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle(**CORE_ML)
    long = tuple(["x" * 1000] * 28)
    for number in range(MAX_PROOFS):
        proof = proof_of(bundle, f"chip {number}")
        proof = replace(proof, units=(replace(proof.units[0], ok=False, failures=long),))
        (tmp_path / "p.json").write_text(json.dumps(proof.to_json()))
        attach(bundle, read(tmp_path / "p.json"))
    assert len(Bundle.open(bundle.folder).manifest.proofs) == MAX_PROOFS


def test_two_proofs_at_once_are_both_kept(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(**CORE_ML)  # opened before either
    attach(bundle, proof_of(bundle, "first"))
    attach(bundle, proof_of(bundle, "second"))
    kept = Bundle.open(bundle.folder).manifest.proofs
    assert [proof.machine["processor"] for proof in kept] == ["first", "second"]


def test_what_would_not_open_again_is_not_written(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(**CORE_ML)
    proof = proof_of(bundle)
    torn = replace(proof, units=(replace(proof.units[0], ok=False, failures=("two\nlines",)),))
    with pytest.raises(BundleError, match="printable"):
        attach(bundle, torn)
    assert Bundle.open(bundle.folder).manifest.proofs == ()


def test_a_manifest_that_cannot_be_written(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(**CORE_ML)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BundleError, match=r"manifest\.json: No space left"):
        attach(bundle, proof_of(bundle))
    assert Bundle.open(bundle.folder).manifest.proofs == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value.pop("units"), "lacks 'units'"),
        (lambda value: value.update(format="other"), "does not say"),
        (lambda value: value.update(runs="ten"), "expected an integer"),
        (lambda value: value["units"][0].update(hole_db=[]), "expected a number"),
        (lambda value: value["units"][0].update(unit="[/red]"), "no name of a unit"),
        (lambda value: value["machine"].pop("processor"), "machine lacks"),
        (lambda value: value["units"][0]["graphs"].pop("decoder"), "ok without all three graphs"),
        (lambda value: value["units"][0]["graphs"]["encoder"].update(p50_ms=-1), "cannot be"),
        (lambda value: value["units"][0]["graphs"]["encoder"].update(db=-5e300), "cannot be"),
        (lambda value: value.update(runs=-10), "expected 1 to 1000"),
    ],
)
def test_what_is_no_proof(
    make_bundle: Callable[..., Bundle], tmp_path: Path, change: Callable[[Any], Any], words: str
) -> None:
    value = proof_of(make_bundle(**CORE_ML)).to_json()
    change(value)
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InvalidInput, match=words):
        read(path)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\x00", b"[]", b" " * (1 << 16)])
def test_damaged_proofs(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "proof.json"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"proof\.json"):
        read(path)
    with pytest.raises(InvalidInput, match="cannot read"):
        read(tmp_path)
