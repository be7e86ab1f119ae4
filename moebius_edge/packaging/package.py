"""Turn a bundle into a project that an app developer builds.

It holds the template, the bundle, app.json, licences and vectors. `plan` says what a package would be;
`write` makes it, atomically, of a bundle that passes `verify`.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from moebius_edge.bundle.folder import Bundle, refuse_inside
from moebius_edge.bundle.manifest import GRAPH_NAMES, MANIFEST_NAME, Manifest
from moebius_edge.bundle.proofs import files_sha256
from moebius_edge.checking.report import Report
from moebius_edge.common import strictjson
from moebius_edge.common.errors import BundleError, ExportError
from moebius_edge.common.explain import printable
from moebius_edge.common.files import plain_size
from moebius_edge.common.staging import refuse_occupied, stage
from moebius_edge.packaging import sums
from moebius_edge.packaging.platforms import PLATFORMS, Addition, Limit, Platform, require_target
from moebius_edge.packaging.vectors import dumps

APP_FORMAT = "moebius-edge-app-1"
MODEL_FOLDER = "model"
OWN_LICENSE = "Apache-2.0"  # of the sources, and the one licence of models whose text is at hand
MAX_LICENSE_BYTES = 1 << 20

Verify = Callable[[Bundle], Report]


@dataclass(frozen=True)
class Exceeded:
    """A limit that the bundle is above."""

    what: str  # a file's name, or "the app"
    megabytes: float
    limit: Limit

    def sentence(self) -> str:
        """Return a sentence for people, with both numbers."""
        limit = self.limit
        return f"{self.what} has {self.megabytes:,.1f} MB, more than {limit.megabytes:,.1f}: {limit.where}"


@dataclass(frozen=True)
class Plan:
    """What a package would be: its sizes, the limits that it exceeds, and notes."""

    bundle: str
    platform: str
    model: str
    license: str
    precision: str
    graphs: dict[str, int]  # bytes of each graph with its weights
    graphs_bytes: int  # of all three
    download_bytes: int  # what an app fetches to run: the graphs, the manifest and the capsule
    bundle_bytes: int  # all of its files
    exceeded: tuple[Exceeded, ...]
    additions: tuple[Addition, ...]  # what comes to a device besides
    notes: tuple[str, ...]  # what else to count on

    @property
    def refusals(self) -> tuple[str, ...]:
        """Sentences that say why the bundle cannot be packaged."""
        return tuple(each.sentence() for each in self.exceeded if each.limit.refuses)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about limits to think of before the package is hosted or uploaded."""
        return tuple(each.sentence() for each in self.exceeded if not each.limit.refuses)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        values = asdict(self)
        values.pop("exceeded")
        return {**values, "refusals": list(self.refusals), "warnings": list(self.warnings)}


def find_platform(name: str) -> Platform:
    """Return a row of the table; the case does not matter. Raises ExportError for an unknown name."""
    if name.lower() not in PLATFORMS:
        raise ExportError(f"there is no platform {name!r}; platforms are {', '.join(PLATFORMS)}")
    return PLATFORMS[name.lower()]


def plan(bundle: Bundle, platform: Platform) -> Plan:
    """Return the sizes of a package and the limits that they are above; nothing is written.

    Raises ExportError for a bundle that does not run on the platform.
    """
    manifest = bundle.manifest
    require_target(manifest, platform)
    graphs = {name: bundle.graph_bytes(name) for name in GRAPH_NAMES}
    own = (bundle.folder / MANIFEST_NAME).stat().st_size
    return Plan(
        bundle=printable(bundle.folder.resolve().name),
        platform=platform.name,
        model=manifest.model.name,
        license=manifest.model.license,
        precision=manifest.precision,
        graphs=graphs,
        graphs_bytes=sum(graphs.values()),
        download_bytes=sum(graphs.values()) + own + manifest.files[manifest.capsule].size,
        bundle_bytes=manifest.total_bytes + own,
        exceeded=tuple(_exceeded(manifest, platform)),
        additions=platform.additions,
        notes=platform.notes,
    )


def _exceeded(manifest: Manifest, platform: Platform) -> Iterator[Exceeded]:
    sizes = {
        "file": {name: entry.size for name, entry in manifest.files.items()},
        "app": {"the app": manifest.total_bytes},
    }
    for limit in platform.limits:
        for what, size in sizes[limit.of].items():
            if size > limit.megabytes * 1e6:
                yield Exceeded(what, size / 1e6, limit)


def write(
    bundle: Bundle,
    platform: Platform,
    output: Path,
    verify: Verify,
    *,
    license_file: Path | None = None,
    overwrite: bool = False,
) -> Plan:
    """Write the project into the folder `output`, atomically.

    `verify` replays the bundle's self-test; `license_file` is the text of the model's licence where it is not
    Apache-2.0. Raises ExportError for a bundle that does not run there, fails its self-test or is too large,
    for a model without a licence text, and for an `output` that exists or, with `overwrite`, was changed
    since it was made. Raises InvalidInput for an `output` in a bundle.
    """
    refuse_inside(output)
    made = plan(bundle, platform)
    if made.refusals:
        raise ExportError(f"{made.bundle} is too large for {platform.name}: {'; '.join(made.refusals)}")
    license_text = _license_text(bundle.manifest, license_file)
    refuse_occupied(output, overwrite, platform.app)
    if output.is_dir() and any(output.iterdir()):
        sums.refuse_changed(output)
    report = verify(bundle)
    if not report.ok:
        raise ExportError(
            f"{made.bundle} fails its self-test and is not packaged: {'; '.join(report.failures)}; export it "
            "again"
        )
    with stage(output, overwrite=overwrite, replaceable=platform.app) as folder:
        template = resources.files("moebius_edge.packaging") / platform.name
        with resources.as_file(template) as source:
            _copy_template(source, folder)
        app = folder / platform.app
        _copy(bundle, app.parent / MODEL_FOLDER)
        app.write_bytes(app_json(bundle, platform))
        (folder / platform.vectors).parent.mkdir(parents=True, exist_ok=True)
        (folder / platform.vectors).write_text(dumps())
        (folder / "LICENSE").write_text(_own_license())
        (folder / "LICENSE-model").write_text(license_text, encoding="utf-8")
        sums.write(folder)
    return made


def _copy_template(source: Path, folder: Path) -> None:
    """Copy the files' contents alone, because an installation's files may be read-only.

    copytree is not used, so that each error comes as it is.
    """
    for each in sorted(source.iterdir()):
        if each.name in sums.BUILT:
            continue
        if each.is_dir():
            (folder / each.name).mkdir()
            _copy_template(each, folder / each.name)
        else:
            shutil.copyfile(each, folder / each.name)


def _copy(bundle: Bundle, folder: Path) -> None:
    """Copy the files that the manifest lists, and nothing that a file manager may have left beside them.

    Raises ExportError when they are no longer those that were verified.
    """
    try:
        for name in (*bundle.manifest.files, MANIFEST_NAME):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / name, folder / name)
        same = Bundle.open(folder).manifest == bundle.manifest
    except (BundleError, FileNotFoundError):
        same = False
    if not same:
        raise ExportError(
            f"{bundle.folder.resolve().name} was changed while it was packaged; try again when nothing else "
            "writes to it"
        )


def app_json(bundle: Bundle, platform: Platform) -> bytes:
    """Return the bytes of app.json, as docs/devices.md describes it.

    Raises ExportError for a bundle that does not run on the platform.
    """
    made = plan(bundle, platform)
    values = {
        "format": APP_FORMAT,
        "model": made.model,
        "license": made.license,
        "precision": made.precision,
        "files_sha256": files_sha256(bundle.manifest.files),
        "model_folder": MODEL_FOLDER,
        "download_bytes": made.download_bytes,
        "thresholds": platform.thresholds(bundle.manifest),
    }
    return strictjson.dumps(values)


def _own_license() -> str:
    """Return the text of the sources' licence, which every installation of this package has."""
    for file in metadata.files("moebius-edge") or ():
        if file.name == "LICENSE" and (path := Path(str(file.locate()))).is_file():
            return path.read_text()
    raise ExportError("this installation of moebius-edge has no LICENSE file; install it again")


def _license_text(manifest: Manifest, given: Path | None) -> str:
    """Return the licence that must go with the weights. Raises ExportError when it is not known."""
    name = manifest.model.license
    if given is None and name != OWN_LICENSE:
        raise ExportError(
            f"the licence of {manifest.model.name} is {name!r}, and an app must carry "
            "its text; give it with --license FILE"
        )
    text = _own_license() if given is None else _read_license(given)
    head = {"Model": manifest.model.name, "Weights": manifest.model.source}
    if "vae" in manifest.model.origins:
        head["Autoencoder"] = manifest.model.origins["vae"]
    lines = (f"{what}: {value}\n" for what, value in {**head, "Licence": name}.items())
    return f"{''.join(lines)}\n{text}"


def _read_license(path: Path) -> str:
    try:
        if plain_size(path) > MAX_LICENSE_BYTES:
            raise ExportError(f"{path} has more than {MAX_LICENSE_BYTES:,} bytes; expected a licence's text")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ExportError(f"{path} is no text in UTF-8; expected the text of the model's licence") from None
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror or error}") from error
    if not text.strip():
        raise ExportError(f"{path} is empty; expected the text of the model's licence")
    return text
