"""Make a bundle of the engines that a box has built of a build kit."""

import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import MAX_FILE_BYTES
from moebius_edge.common import strictjson
from moebius_edge.common.errors import ExportError
from moebius_edge.common.files import plain_size
from moebius_edge.export.targets.registry import require_kit
from moebius_edge.export.targets.tensorrt import KIT
from moebius_edge.export.targets.tensorrt.builder import PACKAGES, REPORT, graph_files, sha256, sources

MAX_REPORT = 1 << 20
VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,39}")


@dataclass(frozen=True)
class BuiltEngine:
    """What build.json says of one engine."""

    of: dict[str, str]  # the files that it was built of, with their SHA-256
    sha256: str


@dataclass(frozen=True)
class BuildReport:
    """What build.json says of a build."""

    builder: str  # one of PACKAGES
    version: str
    graphs: dict[str, BuiltEngine]


def import_engines(kit: Bundle, engines: Path, output: Path, *, overwrite: bool = False) -> Bundle:
    """Write a bundle of the engines in the folder `engines`, which were built of `kit`, and open it.

    Raises ExportError, with nothing written, for a `kit` that is no build kit, and for engines that are
    missing, damaged, or built of other graphs.
    """
    require_kit(kit)
    manifest = kit.manifest
    wanted, source = output.resolve(), kit.folder.resolve()
    if wanted.is_relative_to(source) or wanted == engines.resolve():
        raise ExportError(f"{output} would replace what the bundle is made of; choose another folder")
    report, plain = _report(engines), asdict(manifest)
    files = graph_files(plain)
    built = {name: _engine(engines, report, name, sources(plain, file)) for name, file in files.items()}
    left = {name for file in files.values() for name in (file, f"{file}.data")} | {KIT}
    with staging(output, overwrite=overwrite) as folder:
        for name in manifest.files.keys() - left:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kit.file(name), folder / name)
        for name, data in built.items():
            (folder / f"{name}.engine").write_bytes(data)
        graphs = {name: replace(graph, file=f"{name}.engine") for name, graph in manifest.graphs.items()}
        tools = {name: version for name, version in manifest.tools.items() if name not in PACKAGES}
        tools[report.builder] = report.version
        seal(folder, replace(manifest, graphs=graphs, runtime="tensorrt", tools=tools, proofs=()))
    return Bundle.open(output)


def _report(engines: Path) -> BuildReport:
    path = engines / REPORT
    try:
        value = strictjson.loads(_read(path, MAX_REPORT), MAX_REPORT)
        report: BuildReport = strictjson.decode(BuildReport, value, "build.json")
    except strictjson.JSONError as error:
        raise ExportError(f"{path} is not what {KIT} writes: {error}; build again") from error
    if report.builder not in PACKAGES:
        raise ExportError(f"{path} says that {report.builder[:40]!r} built; expected {' or '.join(PACKAGES)}")
    if not VERSION.fullmatch(report.version):  # it comes back in a command to type
        raise ExportError(f"{path} has the version {report.version[:40]!r}; expected one like 10.13.2")
    return report


def _engine(engines: Path, report: BuildReport, name: str, expected: dict[str, str]) -> bytes:
    file = f"{name}.engine"
    if not expected:
        raise ExportError(f"the kit has no graph to build {file} of; copy the kit again, or make another")
    if name not in report.graphs:
        raise ExportError(f"{REPORT} knows no engine of the {name}; build again")
    if report.graphs[name].of != expected:
        raise ExportError(f"{file} was built of other graphs than this kit's; build it of this kit")
    data = _read(engines / file, MAX_FILE_BYTES)
    if sha256(data) != report.graphs[name].sha256:
        raise ExportError(f"{file} is damaged or of another build: its SHA-256 is not that of {REPORT}")
    return data


def _read(path: Path, most: int) -> bytes:
    try:
        if (size := plain_size(path)) > most:
            raise ExportError(f"{path} has {size:,} bytes; at most {most:,} are allowed")
        return path.read_bytes()
    except OSError as error:
        why = f"cannot read {path}: {error.strerror or error}; run the kit's {KIT} on the box first"
        raise ExportError(why) from error
