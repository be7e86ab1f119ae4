"""Attack what opens and writes bundles, and print a table of what became of it.

    python -m tests.attacks.campaign --kills 300 --flips 2000 --manifests 5000 --edits 400

Every attack is either refused by one of this project's errors, or it changes nothing. `test_campaign.py` runs
the same with a small budget.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import MANIFEST_NAME, signed_bytes
from moebius_edge.common.errors import Cancelled, MoebiusError
from moebius_edge.common.machine import peak_mb
from moebius_edge.inpainter import Inpainter
from moebius_edge.runtimes.onnxruntime import OnnxRuntime
from tests.attacks import kills
from tests.attacks.bundles import resealed, write_ort_bundle
from tests.attacks.graphs import GRAPHS
from tests.attacks.ort_files import ORT_FILES
from tests.conftest import tiny_manifest, write_tiny_bundle

SECONDS, MEGABYTES = 10.0, 1000.0  # what an attack may take
Made = Callable[[], onnx.ModelProto | bytes]
LATENTS = np.zeros((1, 4, 4, 4), np.float32)


class Outcome(NamedTuple):
    """What became of one attack."""

    attack: str
    words: str  # "refused", "harmless", or what is wrong
    seconds: float = 0.0
    megabytes: float = 0.0  # that the process grew by
    message: str = ""


def apart(attack: str, action: Callable[[], object]) -> Outcome:
    """Run an attack in a process of its own, and measure it."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        try:
            os.write(send, json.dumps(_measured(action)).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return Outcome(attack, *json.loads(data)) if data else Outcome(attack, "the process died")


def _measured(action: Callable[[], object]) -> tuple[str, float, float, str]:
    before, begin, message = peak_mb() or 0.0, time.perf_counter(), ""
    try:
        action()
        words = "harmless"
    except MoebiusError as error:
        words, message = "refused", str(error)
    except Exception as error:  # exactly what must not happen
        words = f"{type(error).__name__}: {error}"
    seconds, grown = time.perf_counter() - begin, (peak_mb() or 0.0) - before
    if words == "refused" and ("\n" in message or len(message) > 600):
        words = "refused by more than a sentence"
    if seconds > SECONDS or grown > MEGABYTES:
        words += ", too much"
    return words, seconds, grown, message


def hostile_graphs(good: Bundle, folder: Path, graphs: Mapping[str, Made]) -> Iterator[Outcome]:
    """Graphs that would take too much, in the place of the decoder of a good bundle, sealed again."""
    for name, make in graphs.items():
        made = make()
        data = made if isinstance(made, bytes) else made.SerializeToString()
        bundle = resealed(good, folder / "hostile.moebius", decoder=data)
        found = apart(name, partial(OnnxRuntime(bundle).run, "decoder", {"latents": LATENTS}))
        yield found if found.words != "harmless" else found._replace(words="it was taken")


def manifests(folder: Path, count: int, rng: random.Random) -> Iterator[Outcome]:
    """Manifests with one value changed, their checksum right."""
    good = write_tiny_bundle(folder / "manifests.moebius", tiny_manifest())
    path = good.folder / MANIFEST_NAME
    data = path.read_bytes()
    for _ in range(count):
        value = json.loads(data)
        where = change(value, rng)
        path.write_bytes(signed_bytes(value))
        yield Outcome(where, *_measured(lambda: edit(good.folder)))
    path.write_bytes(data)


STRANGE: list[Any] = [
    *(None, True, -1, 0, 1, 2, 1e308, -0.5, 1 << 53, "", "x", "../x", "a" * 300, [], {}, [[]]),
    *("\u202e", "%s", "nul", 4096, 8192, [1] * 50, {"a": 1}),
]


def change(value: Any, rng: random.Random) -> str:
    """Change one value of a table, somewhere inside; return where."""
    where: list[str] = []
    while True:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        where.append(str(key))
        inner = value[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.9:
            value = inner
            continue
        if isinstance(value, dict) and rng.random() < 0.1:
            del value[key]
        else:
            value[key] = rng.choice(STRANGE)
        return ".".join(where)


def edit(folder: Path, progress: Callable[[int, int], object] | None = None) -> None:
    """Open a bundle and remove something with it."""
    mask = np.zeros((16, 24), bool)
    mask[6:9, 8:11] = True
    photo = np.full((16, 24, 3), 100, np.uint8)
    Inpainter.load(folder, threads=1)(photo, mask, progress=progress)


def flips(folder: Path, count: int, rng: random.Random) -> Iterator[Outcome]:
    """One bit of one file changed."""
    good = write_tiny_bundle(folder / "flips.moebius", tiny_manifest())
    files = [good.folder / name for name in (MANIFEST_NAME, *good.manifest.files)]
    for _ in range(count):
        path = rng.choice(files)
        data = path.read_bytes()
        place = rng.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        found = Outcome(f"{path.name}, byte {place}", *_measured(lambda: Bundle.open(good.folder)))
        path.write_bytes(data)
        yield found if found.words != "harmless" else found._replace(words="it was not noticed")


def cancelled(folder: Path, count: int, rng: random.Random) -> Iterator[Outcome]:
    """Edits that are stopped in one of their steps."""
    good = write_tiny_bundle(folder / "edits.moebius", tiny_manifest())
    before = sorted(folder.rglob("*"))
    for _ in range(count):
        stop, error = rng.randrange(2), rng.choice([Cancelled, KeyboardInterrupt])

        def progress(done: int, total: int, stop: int = stop, error: Any = error) -> None:
            if done >= stop:
                raise error

        begin, words = time.perf_counter(), "it went on"
        try:
            edit(good.folder, progress)
        except (Cancelled, KeyboardInterrupt) as found:
            words = "stopped" if isinstance(found, error) else f"{error} became {found}"
        if sorted(folder.rglob("*")) != before:
            words = "something was left behind"
        yield Outcome(f"step {stop}, {error.__name__}", words, time.perf_counter() - begin)


def killed(folder: Path, count: int, rng: random.Random) -> Iterator[Outcome]:
    """Writers that are killed at random times."""
    for i in range(count):
        writer = rng.choice(list(kills.WRITERS))
        begin = time.perf_counter()
        try:
            kills.at_random(folder / str(i), writer, rng)
            words = "whole or absent"
        except (AssertionError, MoebiusError) as error:
            words = f"{type(error).__name__}: {error}"
        yield Outcome(writer, words, time.perf_counter() - begin)


FINE = frozenset({"refused", "harmless", "stopped", "whole or absent"})


def campaign(folder: Path, budget: argparse.Namespace) -> dict[str, list[Outcome]]:
    """Run all attacks in a folder."""
    rng = random.Random(budget.seed)
    good = write_tiny_bundle(folder / "good.moebius", tiny_manifest())
    mobile = write_ort_bundle(folder / "mobile.moebius", tiny_manifest())
    graphs, ort_files = (dict(list(each.items())[: budget.graphs]) for each in (GRAPHS, ORT_FILES))
    return {
        "re-sealed graphs": list(hostile_graphs(good, folder, graphs)),
        "re-sealed .ort files": list(hostile_graphs(mobile, folder, ort_files)),
        "re-sealed manifests": list(manifests(folder, budget.manifests, rng)),
        "flipped bits": list(flips(folder, budget.flips, rng)),
        "edits stopped": list(cancelled(_new(folder / "edits"), budget.edits, rng)),
        "writers killed": list(killed(_new(folder / "kills"), budget.kills, rng)),
    }


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def table(found: dict[str, list[Outcome]]) -> str:
    """Describe the outcomes, a line for each kind of attack and each way that it ended."""
    lines = []
    for kind, outcomes in found.items():
        for words, count in Counter(each.words for each in outcomes).most_common():
            these = [each for each in outcomes if each.words == words]
            slowest, largest = max(each.seconds for each in these), max(each.megabytes for each in these)
            lines.append(f"{kind:20} {count:6} {words[:60]:40} {slowest:8.2f} s {largest:8.0f} MB")
    return "\n".join(lines)


def wrong(found: dict[str, list[Outcome]]) -> list[Outcome]:
    """Return the outcomes that must not be."""
    return [each for outcomes in found.values() for each in outcomes if each.words not in FINE]


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, count in {
        "graphs": 1000,
        "manifests": 500,
        "flips": 200,
        "edits": 50,
        "kills": 50,
        "seed": 0,
    }.items():
        made.add_argument(f"--{name}", type=int, default=count)
    made.add_argument("--list", action="store_true", help="print every outcome, too")
    return made


def main() -> int:
    """Run the command; exit code 1 when something was not as it must be."""
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = campaign(Path(name), asked)
    for outcome in (each for outcomes in found.values() for each in outcomes if asked.list):
        print(f"{outcome.attack:40} {outcome.words[:40]:40} {outcome.seconds:6.2f} s {outcome.message[:200]}")
    print(table(found))
    for outcome in wrong(found):
        print(f"wrong: {outcome}")
    return 1 if wrong(found) else 0


if __name__ == "__main__":
    sys.exit(main())
