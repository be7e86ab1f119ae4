"""What a bundle says about itself: `manifest.json` as frozen dataclasses, checked field by field.

The format is specified in docs/bundle.md. Reading never trusts the file: see `parse`.
"""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moebius_edge.bundle.names import check_name
from moebius_edge.bundle.proofs import MAX_PROOFS, Proof
from moebius_edge.common import strictjson
from moebius_edge.common.errors import BundleError, InvalidInput
from moebius_edge.inpaint.solving.protocol import NoiseSchedule
from moebius_edge.inpaint.solving.table import Start, Step
from moebius_edge.model.config import MoebiusConfig, VAEConfig

FORMAT = "moebius-edge-bundle"
MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 3  # 3: the loop that the capsule records starts from continued latents
OWN_SHA256 = "manifest_sha256"  # of the manifest's own bytes, with zeros in the place of these digits
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 4096
MAX_FILE_BYTES = 4 << 30  # the full-size FP32 denoiser has under 1 GB

GRAPH_NAMES = ("encoder", "denoiser", "decoder")
DTYPES = ("float32", "float16")
ORIGINS = ("unet", "vae")

Shape = tuple[int, ...]

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ORIGIN = re.compile(r"[A-Za-z0-9._-]{1,96}(/[A-Za-z0-9._-]{1,96})?@[0-9a-f]{40}")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph."""

    name: str
    dtype: str  # "float32" or "float16"
    shape: Shape


@dataclass(frozen=True)
class GraphSpec:
    """One of the three graphs."""

    file: str  # the file, or the folder, that the engine opens
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: int | None = None  # multiply-accumulates of one run; None: not counted


@dataclass(frozen=True)
class FileEntry:
    """What a file must be, to the byte."""

    size: int  # bytes
    sha256: str  # 64 lower-case hexadecimal digits


@dataclass(frozen=True)
class ModelInfo:
    """Which weights these are, and what one may do with them."""

    name: str  # the checkpoint's name: "nano", "places2", ...
    license: str  # SPDX identifier, or words
    source: str  # where the weights came from
    parameters: int  # of the U-Net and its embedding
    config: MoebiusConfig
    vae: VAEConfig
    weights_sha256: str  # `moebius_edge.checkpoints.checkpoint.weights_sha256`
    # What was downloaded from the hub, by `ORIGINS`: "REPOSITORY@COMMIT". Bundles made before have none.
    origins: dict[str, str] = field(default_factory=dict, metadata={strictjson.OPTIONAL: True})


@dataclass(frozen=True)
class SchedulerSpec:
    """The noise schedule, and the solver: its name, and its table for the default steps and strength."""

    beta_start: float
    beta_end: float
    beta_schedule: str  # "scaled_linear"
    train_timesteps: int
    prediction: str  # "epsilon"
    solver: str  # "ddim"; one that a reader does not know is run by its table alone
    coefficients: tuple[Step, ...]
    start: Start

    def noise(self) -> NoiseSchedule:
        """Give the noise schedule alone. Raises InvalidInput for one that is not known."""
        return NoiseSchedule(*(getattr(self, each.name) for each in dataclasses.fields(NoiseSchedule)))


@dataclass(frozen=True)
class Defaults:
    """What the loop uses when the caller does not say: the fields of `InpaintOptions` of these names."""

    steps: int
    guidance: float
    strength: float
    noise_offset: float


@dataclass(frozen=True)
class Manifest:
    """The whole of `manifest.json`. `parse` gives only manifests that passed every check."""

    model: ModelInfo
    target: str  # the export target: "ort", ...
    runtime: str  # the runtime that opens the artifacts: "onnxruntime", ...
    precision: str  # "fp32", ...
    graph: str  # "deploy": rewritten; "direct": the plain export, for comparison
    resolution: int  # H = W in pixels
    latent_size: int  # h = w
    graphs: dict[str, GraphSpec]  # encoder, denoiser, decoder
    scheduler: SchedulerSpec
    defaults: Defaults
    capsule: str  # the self-test tensors, a safetensors file
    tools: dict[str, str]  # versions of what made this bundle
    settings: dict[str, str] = field(default_factory=dict)  # of the target's compiler, by name
    proofs: tuple[Proof, ...] = ()  # what was measured where the bundle runs: `moebius-edge prove`
    files: dict[str, FileEntry] = field(default_factory=dict)  # every file but the manifest; `seal` fills it
    format: str = FORMAT
    schema_version: int = SCHEMA_VERSION

    @property
    def total_bytes(self) -> int:
        """Of all files but the manifest itself."""
        return sum(entry.size for entry in self.files.values())

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of `manifest.json`: equal manifests give equal bytes."""
        return signed_bytes(dataclasses.asdict(self))


def io_shapes(resolution: int, latent: int) -> dict[str, dict[str, dict[str, Shape]]]:
    """Names and shapes of each graph's inputs and outputs (docs/graphs.md), for H = W = `resolution`."""
    image: Shape = (1, 3, resolution, resolution)
    latents: Shape = (1, 4, latent, latent)
    one: Shape = (1,)
    return {
        "encoder": {"inputs": {"image": image}, "outputs": {"mean": latents, "std": latents}},
        "denoiser": {
            "inputs": {
                "latents": latents,
                "mask": (1, 1, latent, latent),
                "masked_latents": latents,
                "timestep": one,
                "guidance": one,
            },
            "outputs": {"noise": latents},
        },
        "decoder": {"inputs": {"latents": latents}, "outputs": {"image": image}},
    }


def tensor_names(graph: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a graph's inputs and of its outputs."""
    sides = io_shapes(1, 1)[graph]
    return tuple(sides["inputs"]), tuple(sides["outputs"])


def signed_bytes(value: Mapping[str, Any]) -> bytes:
    """Canonical bytes of a manifest's table, with its own checksum put in."""
    blank = strictjson.dumps({**value, OWN_SHA256: "0" * 64})
    return blank.replace(_own("0" * 64), _own(hashlib.sha256(blank).hexdigest()))


def _own(digest: str) -> bytes:
    return f'"{OWN_SHA256}": "{digest}"'.encode()


def _intact(data: bytes, digest: object) -> bool:
    """Whether `data` has the SHA-256 that it says it has."""
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest) or data.count(_own(digest)) != 1:
        return False
    return hashlib.sha256(data.replace(_own(digest), _own("0" * 64))).hexdigest() == digest


def parse(data: bytes) -> Manifest:
    """Read and check the bytes of a `manifest.json`. Raises BundleError that says what is wrong with it."""
    try:
        value = strictjson.loads(data, MAX_MANIFEST_BYTES)
        # Which format and version this is comes first: another version may well have other fields.
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise strictjson.JSONError(f'it does not say "format": "{FORMAT}"')
        version = value.get("schema_version")
        if type(version) is not int or version != SCHEMA_VERSION:
            raise strictjson.JSONError(
                f"schema version {str(version)[:40]} is not known; this moebius-edge reads {SCHEMA_VERSION}: "
                "another version made the bundle; export it again"
            )
        if not _intact(data, value.pop(OWN_SHA256, None)):
            raise strictjson.JSONError("it was damaged or edited: its own SHA-256 does not fit")
        manifest = strictjson.decode(Manifest, value, "manifest")
        check(manifest)
    except (strictjson.JSONError, InvalidInput) as error:
        raise BundleError(f"{MANIFEST_NAME}: {error}") from None
    return manifest


def check(manifest: Manifest) -> None:
    """Raise JSONError or InvalidInput for values that have the right type and are still impossible."""
    kinds = {name: getattr(manifest, name) for name in ("target", "runtime", "precision")}
    for name, word in {**kinds, "scheduler.solver": manifest.scheduler.solver}.items():
        _require(_IDENTIFIER.fullmatch(word), f"{name} must be a lower-case identifier")
    _require(manifest.graph in ("deploy", "direct"), 'graph must be "deploy" or "direct"')
    _require(_SHA256.fullmatch(manifest.model.weights_sha256), "model.weights_sha256 must be 64 hex digits")
    _require(manifest.model.parameters >= 0, "model.parameters must not be negative")
    for part, origin in manifest.model.origins.items():
        fine = part in ORIGINS and _ORIGIN.fullmatch(origin)
        _require(fine, f"model.origins may have REPOSITORY@COMMIT of {' and '.join(ORIGINS)} alone")
    _check_sizes(manifest)
    _check_graphs(manifest)
    _check_scheduler(manifest)
    _check_files(manifest)
    _require(len(manifest.proofs) <= MAX_PROOFS, f"it has more than {MAX_PROOFS} proofs")


def _require(condition: object, message: str) -> None:
    if not condition:
        raise strictjson.JSONError(message)


def _check_sizes(manifest: Manifest) -> None:
    model, latent, pixels = manifest.model, manifest.latent_size, manifest.resolution
    stages = max(len(model.config.block_out_channels), len(model.vae.block_out_channels))
    _require(stages <= 8, f"the model has {stages} resolutions; at most 8 are allowed")
    _require(
        latent == model.config.latent_size, f"latent_size is {latent}, the model's {model.config.latent_size}"
    )
    _require(
        pixels == latent * model.vae.downscale and 0 < pixels <= 8192,
        f"resolution is {pixels}; expected latent_size {latent} x {model.vae.downscale}",
    )


def _check_graphs(manifest: Manifest) -> None:
    _require(set(manifest.graphs) == set(GRAPH_NAMES), f"graphs must be exactly {', '.join(GRAPH_NAMES)}")
    expected = io_shapes(manifest.resolution, manifest.latent_size)
    for name, graph in manifest.graphs.items():
        for side, specs in (("inputs", graph.inputs), ("outputs", graph.outputs)):
            found = {spec.name: spec.shape for spec in specs}
            _require(
                found == expected[name][side] and len(specs) == len(found),
                f"graphs.{name}.{side} is {found}; expected {expected[name][side]}",
            )
            for spec in specs:
                _require(
                    spec.dtype in DTYPES, f"graphs.{name}.{spec.name} is {spec.dtype!r}; expected {DTYPES}"
                )
        _require(graph.macs is None or graph.macs >= 0, f"graphs.{name}.macs must not be negative")


def _check_scheduler(manifest: Manifest) -> None:
    scheduler, defaults = manifest.scheduler, manifest.defaults
    scheduler.noise()
    steps = [step.timestep for step in scheduler.coefficients]
    _require(1 <= len(steps) <= defaults.steps <= 1000, "scheduler.coefficients must have 1 to `steps` rows")
    falling = steps == sorted(set(steps) & set(range(scheduler.train_timesteps)), reverse=True)
    _require(falling, "scheduler.coefficients must have falling timesteps within the training timesteps")
    _require(scheduler.start.timestep == steps[0], "scheduler.start must be at the first timestep")
    _require(0 < defaults.strength <= 1, "defaults.strength must be above 0 and at most 1")
    fine = 0 <= defaults.guidance <= 100 and 0 <= defaults.noise_offset <= 1
    _require(fine, "defaults.guidance must be 0 to 100, defaults.noise_offset 0 to 1")


def _check_files(manifest: Manifest) -> None:
    files = manifest.files
    _require(len(files) <= MAX_FILES, f"it lists more than {MAX_FILES} files")
    for name, entry in files.items():
        check_name(name)
        _require(name.lower() != MANIFEST_NAME, f"{MANIFEST_NAME} cannot list itself")
        _require(
            0 <= entry.size <= MAX_FILE_BYTES,
            f"{name} claims {entry.size:,} bytes; 0 to {MAX_FILE_BYTES:,} are allowed",
        )
        _require(_SHA256.fullmatch(entry.sha256), f"{name} has no SHA-256 of 64 hex digits")
    lowered = {name.lower() for name in files}
    folders = {name[:i] for name in lowered for i, letter in enumerate(name) if letter == "/"}
    _require(len(lowered) == len(files), "it lists two files whose names differ only in case")
    _require(not lowered & folders, "it lists a name both as a file and as a folder")
    _require(manifest.capsule in files, f"the capsule {manifest.capsule[:120]!r} is not among its files")
    for graph in manifest.graphs.values():
        check_name(graph.file)
        inside = graph.file in files or any(name.startswith(graph.file + "/") for name in files)
        _require(inside, f"the graph {graph.file!r} is not among its files")
