"""Serve a folder of web pages on this machine's loopback address, with the headers that WASM threads need."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from moebius_edge.bundle.manifest import MANIFEST_NAME
from moebius_edge.common.errors import InvalidInput

HOST = "127.0.0.1"
# What a browser on this machine calls it. A page of another site can have its own name point here and would
# then be allowed to read every answer (DNS rebinding); its requests still carry that name.
NAMES = ("127.0.0.1", "localhost", "::1")
# SharedArrayBuffer, and so threads, need a page that is isolated from other origins (HTML standard, COOP and
# COEP). no-cache: a browser asks whether a file changed; unchanged ones are not sent again.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
TIMEOUT = 30.0  # seconds without a byte, after which a connection is closed: it keeps a thread
# What Python's table, or the system's, may not know or have wrong.
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}


class Handler(SimpleHTTPRequestHandler):
    """The answers to GET and HEAD of plain files below the folder.

    It lists no folders and follows no link that leads out.
    """

    timeout = TIMEOUT

    def guess_type(self, path: Any) -> str:
        """Return the media type, by the suffix."""
        return TYPES.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self) -> None:
        """Add the headers to every answer, errors included."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def send_head(self) -> Any:
        """Send the file, if it was asked for under a name of this machine and really lies in the folder."""
        if not _is_local(self.headers.get("Host")):
            self.send_error(421, explain=f"This server is for this machine alone; expected {NAMES[0]}")
            return None
        if not self._is_inside():
            self.send_error(404)
            return None
        return super().send_head()

    def _is_inside(self) -> bool:
        """Return whether the path is a folder or a plain file below ours, with links followed."""
        try:
            wanted = Path(self.translate_path(self.path))
            if wanted.is_dir() and (wanted / "index.html").exists():
                wanted /= "index.html"  # what is sent for a folder
            found = wanted.resolve()
            return found.is_relative_to(Path(self.directory).resolve()) and (
                found.is_dir() or found.is_file()
            )
        except (OSError, RuntimeError, ValueError):  # too long a name, links in a circle, a null byte
            return False

    def list_directory(self, path: Any) -> None:
        """Answer 404: folders without an index are not shown."""
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""


class Server(ThreadingHTTPServer):
    """An HTTP server with a thread for each request.

    A browser that goes away in the middle of a request is not reported.
    """

    def server_bind(self) -> None:
        """Bind the socket, as the class above does, but look up no name for its address."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore lost connections and those that stand still; print the traceback of every other error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _is_local(host: str | None) -> bool:
    """Return whether a Host header names this machine; programs other than browsers may send none."""
    try:
        return host is None or urlsplit(f"//{host}").hostname in NAMES
    except ValueError:
        return False


def site_of(folder: Path) -> Path:
    """Return the built page in a folder: the folder itself, or its `dist`.

    Raises InvalidInput, with what to do, where there is none.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} does not exist or is no folder; expected a built package for the web")
    if (folder / MANIFEST_NAME).is_file():
        raise InvalidInput(
            f"{folder} is a bundle; first moebius-edge package {folder} --platform web --output DIR, then in "
            "DIR npm ci && npm run build"
        )
    if (folder / "dist" / "index.html").is_file():
        return folder / "dist"
    if (folder / "package.json").is_file():
        raise InvalidInput(f"{folder} is not built yet; in it: npm ci && npm run build")
    if not (folder / "index.html").is_file():
        raise InvalidInput(
            f"{folder} has no index.html; expected a package for the web, or its dist folder: "
            "moebius-edge package BUNDLE --platform web --output DIR"
        )
    return folder


def make_server(folder: Path, port: int = 0) -> Server:
    """Return a server of the page in `folder` on loopback; `serve_forever` runs it.

    `port` 0: any that is free. Raises InvalidInput for a folder without a page, and for a port that is taken
    or no port.
    """
    site = site_of(folder)
    if not 0 <= port <= 65535:
        raise InvalidInput(f"{port} is no port; choose 1 to 65535, or 0 for any that is free")
    try:
        return Server((HOST, port), partial(Handler, directory=str(site)))
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput(f"cannot serve on port {port}: {why}; choose another with --port") from error
