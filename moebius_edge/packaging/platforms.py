"""The platforms as data: which bundles they run, where things lie in a project, how large files may be."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from moebius_edge.checking.thresholds import thresholds
from moebius_edge.common.errors import ExportError

if TYPE_CHECKING:  # help lists the platforms, and does not wait for numpy
    from moebius_edge.bundle.manifest import Manifest
    from moebius_edge.export.targets.target import Target

SELF_TEST_DB = ("encoder_db", "denoiser_db", "decoder_db", "hole_db")  # that an app's self-test knows


@dataclass(frozen=True)
class Limit:
    """How much a platform, a store or a host takes."""

    of: Literal["file", "app"]  # each file of the bundle is counted, or all that an app carries
    megabytes: float  # 10^6 bytes; exactly so much is allowed
    where: str  # who says so, and what to do instead
    refuses: bool  # False: only said, because there is another way


@dataclass(frozen=True)
class Addition:
    """What comes to a user's device besides the bundle."""

    what: str
    megabytes: float  # 10^6 bytes, as it is
    compressed_mb: float  # by the host, with gzip


@dataclass(frozen=True)
class Platform:
    """One row of the table of platforms."""

    name: str  # as typed, and the folder of the template
    language: str  # of its loop
    engine: str  # what runs the graphs
    page: str  # of docs/
    devices: tuple[str, ...]  # what its apps call the system in a device profile
    engines: tuple[str, ...]  # what its apps call the engine there
    app: str  # where app.json lies in the project; the bundle is the folder `model` beside it
    vectors: str  # where the tests of the project look for the vectors
    limits: tuple[Limit, ...]
    next: tuple[str, ...]  # what to type in the project
    additions: tuple[Addition, ...] = ()  # those that were measured
    notes: tuple[str, ...] = ()  # what else to count on
    # What the engine's own rounding allows: no threshold of app.json is above these.
    most_db: Mapping[str, float] = field(default_factory=dict)

    def thresholds(self, manifest: "Manifest") -> dict[str, float]:
        """Return what the self-test of a bundle must reach there: dB by the names of SELF_TEST_DB."""
        row = thresholds(manifest.precision, manifest.settings)
        return {name: min(getattr(row, name), self.most_db.get(name, math.inf)) for name in SELF_TEST_DB}


# Sources, as of 2026: ONNX Runtime's "Working with large models" (Chrome's largest ArrayBuffer is 0x7fe00000
# bytes); GitHub's and Cloudflare Pages' documentation; App Store Connect's "Maximum build file sizes"; Google
# Play's "app size limits" (compressed download; weights hardly get smaller).
WEB = (
    Limit("file", 0x7FE00000 / 1e6, "the largest array of a browser; export a smaller precision", True),
    Limit("file", 100.0, "GitHub Pages takes no larger file; other hosts do", False),
    Limit("file", 26.2144, "Cloudflare Pages takes no larger file; its R2 storage does", False),
)
IOS = (
    Limit("app", 4000.0, "App Store: uncompressed; export a smaller precision", True),
    Limit("app", 200.0, "iOS asks before it loads more over a mobile network", False),
)
ANDROID = (
    Limit("app", 4000.0, "Google Play: all that is there at the first start", True),
    Limit("file", 1500.0, "Google Play: the largest asset pack; export a smaller precision", True),
    Limit("app", 500.0, "Google Play's base module; put the bundle into an asset pack", False),
)

# Of `npm run build` with the versions of package-lock.json; a browser loads one of the two engines.
PAGE = Addition("the page", 0.3, 0.1)
WASM = Addition("the engine for WebAssembly", 14.2, 3.7)
WEBGPU = Addition("in its place the engine for WebGPU", 26.8, 6.7)

PLATFORMS: dict[str, Platform] = {
    platform.name: platform
    for platform in (
        Platform(
            "web",
            "TypeScript",
            "onnxruntime-web: WebGPU or threaded WASM",
            "web.md",
            ("web",),
            ("onnxruntime-web",),
            app="public/app.json",
            vectors="tests/vectors.json",
            limits=WEB,
            next=("npm ci", "npm run build", "moebius-edge serve ."),
            additions=(PAGE, WASM, WEBGPU),
            # WASM sums a whole group of a normalization in one 32-bit float: 88.9 dB with nano's decoder and
            # its 262,144 numbers. The full model has four times as many: 12 dB less if errors add up.
            most_db={"encoder_db": 70.0, "decoder_db": 70.0},
        ),
        Platform(
            "ios",
            "Swift",
            "Core ML",
            "ios.md",
            ("ios", "macos"),
            ("coreml",),
            app="Sources/MoebiusInpaint/Resources/app.json",
            vectors="Tests/MoebiusCoreTests/Resources/vectors.json",
            limits=IOS,
            next=("swift test", "open Example/README.md"),
            notes=("on the device compiled copies of the graphs come besides, of about the same size",),
        ),
        Platform(
            "android",
            "Java 11, Kotlin",
            "onnxruntime-android",
            "android.md",
            ("android",),
            ("onnxruntime",),
            app="example/src/main/assets/app.json",
            vectors="moebius/src/test/resources/vectors.json",
            limits=ANDROID,
            next=("gradle test", "gradle :example:installDebug"),
            notes=(
                "on the device the bundle lies twice, in the APK and copied out of it",
                "ONNX Runtime's library for Android comes besides; its size was not measured",
            ),
        ),
    )
}


def targets_of(platform: Platform, known: "Iterable[Target] | None" = None) -> list[str]:
    """Find the targets whose bundles run on a platform, those that suit it best first.

    `known`: the targets to look at; None: all, those of plug-ins, too.
    """
    from moebius_edge.export.targets.registry import targets  # noqa: PLC0415 (finds plug-ins: only when asked)

    looked_at = targets().values() if known is None else known
    fitting = [target for target in looked_at if platform.name in target.platforms]
    return [target.name for target in sorted(fitting, key=lambda row: row.platforms.index(platform.name))]


def require_target(manifest: "Manifest", platform: Platform) -> None:
    """Raise ExportError for a bundle that does not run on the platform."""
    fitting = targets_of(platform)
    if manifest.target not in fitting:
        raise ExportError(
            f"this is a bundle of the target {manifest.target}; for {platform.name} export with --target "
            f"{' or --target '.join(fitting)}: moebius-edge export {manifest.model.name} --target "
            f"{fitting[0]} --output NEW"
        )


# The same rows by what a device profile says.
DEVICES: dict[str, Platform] = {device: row for row in PLATFORMS.values() for device in row.devices}
