"""A folder of web pages on this machine's loopback address, with the headers that threads in WASM need."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from moebius_edge.errors import InvalidInput

HOST = "127.0.0.1"
# SharedArrayBuffer, and so threads, need a page that is isolated from other origins (HTML standard, COOP and
# COEP). no-cache: a browser asks whether a file changed; unchanged ones are not sent again.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
# What Python's table, or the system's, may not know or have wrong.
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}


class Handler(SimpleHTTPRequestHandler):
    """GET and HEAD of plain files below the folder; no listings, nothing that a link leads out to."""

    def guess_type(self, path: Any) -> str:
        """The media type, by the suffix."""
        return TYPES.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self) -> None:
        """Add the headers to every answer, errors included."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def send_head(self) -> Any:
        """The file, if it really lies in the folder."""
        root, wanted = Path(self.directory).resolve(), Path(self.translate_path(self.path)).resolve()
        if not wanted.is_relative_to(root):
            self.send_error(404)
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        """Folders without an index are not shown."""
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def site_of(folder: Path) -> Path:
    """The built page in a folder: the folder itself, or its `dist`.

    Raises InvalidInput, with what to do, where there is none.
    """
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


def make_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page in `folder` on loopback; port 0: any that is free. `serve_forever` runs it.

    Raises InvalidInput for a folder without a page and a port that is taken.
    """
    site = site_of(folder)
    try:
        return ThreadingHTTPServer((HOST, port), partial(Handler, directory=str(site)))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"cannot serve on port {port}: {why}; choose another with --port") from error
