"""What the tests of the web package need: its npm packages, a build, a browser, a host with faults."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from filelock import FileLock

from moebius_edge.packaging.serve import Handler

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "moebius_edge" / "packaging" / "web"
CACHE = ROOT / "build" / "web"  # npm packages stay between runs
NODE = (20, 19)  # the oldest that Vite runs on


def run(command: list[str], folder: Path, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    """A command in a folder; what it printed is one text."""
    return subprocess.run(
        command,
        cwd=folder,
        timeout=timeout,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "CI": "1", "NO_COLOR": "1"},
    )


def node_modules() -> Path:
    """The packages of package-lock.json, installed once. Skips the test where they cannot be."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("there is no node or no npm: install Node.js 20.19 or newer")
    version = run(["node", "--version"], ROOT).stdout.strip()
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < NODE:
        pytest.skip(f"node is {version}; 20.19 or newer is needed")
    lock = (TEMPLATE / "package-lock.json").read_bytes()
    folder = CACHE / hashlib.sha256(lock).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # another process that is at it is waited for
        if not (folder / ".complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(TEMPLATE / name, folder)
            done = run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
            if done.returncode:
                pytest.skip(
                    f"npm cannot install the web package's dependencies: {done.stdout[-300:].strip()}"
                )
            (folder / ".complete").touch()
    return folder / "node_modules"


def chromium() -> str:
    """The path of a Chromium; as root, Debian's is installed. Skips the test where there is none."""
    with FileLock(CACHE / ".chromium.lock"):
        if not shutil.which("chromium") and shutil.which("apt-get") and os.geteuid() == 0:
            run(["apt-get", "update", "-qq"], ROOT)
            run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], ROOT)
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("there is no Chromium, and it cannot be installed: apt-get install chromium")


class FaultyHandler(Handler):
    """`moebius-edge serve`, which counts what it sends and can lose the connection."""

    sent: ClassVar[Counter[str]] = Counter()  # file name -> times
    cut: ClassVar[dict[str, int]] = {}  # file name -> bytes after which the connection is lost, once

    def do_GET(self) -> None:
        del self.headers["If-Modified-Since"]  # a small model fits into the browser's own cache of HTTP
        super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        name = Path(self.translate_path(self.path)).name
        self.sent[name] += 1
        if name not in self.cut:
            return super().copyfile(source, outputfile)
        outputfile.write(source.read(self.cut.pop(name)))
        outputfile.flush()
        self.close_connection = True
        return None


class Host:
    """A site on loopback that can go away and come back at the same address."""

    def __init__(self, site: Path) -> None:
        self.site, self.port = site, 0
        self.sent, self.cut = FaultyHandler.sent, FaultyHandler.cut
        self.start()

    def start(self) -> None:
        """Serve, at the port that it had before."""
        handler = partial(FaultyHandler, directory=str(self.site))
        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """No network."""
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def hosted(site: Path) -> Iterator[Host]:
    """A host for as long as the block runs."""
    host = Host(site)
    try:
        yield host
    finally:
        host.stop()
