"""Downloads, against a local server that speaks the hub's protocol.

Each case runs in a process of its own, because the hub's client reads its environment when it is imported.
"""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from moebius_edge.checkpoints.hub import fetch as download
from moebius_edge.common.errors import CheckpointError

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNET, VAE = "hustvl/Moebius", "hustvl/PixelHacker"


class Hub:
    """What the hub's `resolve` answers, for files by "repo/path"; keeps a log and can drop connections."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.log: list[str] = []  # "GET path" or "GET path bytes=N-"
        self.drops = 0  # how many of the next downloads break off in the middle
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def gets(self) -> list[str]:
        return [line for line in self.log if line.startswith("GET")]

    def _handler(hub) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(send=False)

            def do_GET(self) -> None:
                self.answer(send=True)

            def answer(self, send: bool) -> None:
                repo, _, rest = self.path.lstrip("/").partition("/resolve/")
                revision, _, path = rest.partition("/")
                span = self.headers.get("Range")
                hub.log.append(" ".join(filter(None, [self.command, f"{repo}/{path}", span])))
                data = hub.files.get(f"{repo}/{path}")
                if revision not in ("main", COMMIT) or data is None:
                    self.fail("RevisionNotFound" if revision not in ("main", COMMIT) else "EntryNotFound")
                    return
                start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
                self.send_response(206 if span else 200)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("Content-Length", str(len(data) - start))
                if span:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                if send and hub.drops:
                    hub.drops -= 1
                    self.wfile.write(data[start : start + (len(data) - start) // 2])
                    self.close_connection = True
                elif send:
                    self.wfile.write(data[start:])

            def fail(self, code: str) -> None:
                self.send_response(404)
                self.send_header("X-Error-Code", code)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()

        return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    served = Hub()
    yield served
    served.close()


CHILD = """
    import sys
    from huggingface_hub import constants
    from moebius_edge.common.errors import MoebiusError
    constants.DOWNLOAD_CHUNK_SIZE = 1 << 14
    try:
        {code}
    except MoebiusError as error:
        print("refused:", error)
"""
FETCH = "from moebius_edge.checkpoints.hub import fetch; print(fetch({repo!r}, {paths!r}, {revision!r}))"


WHOLE = (
    "from moebius_edge.checkpoints.checkpoint import weights_sha256;"
    " from moebius_edge.checkpoints.load import load_checkpoint, pull;"
    " files = pull('places2');"
    " c = load_checkpoint('places2'); same = weights_sha256(c) == weights_sha256(load_checkpoint({local!r}));"
    " print(len(files), c.name, c.license, c.source, same); pull('ffhq')"
)


def run(
    code: str, endpoint: str, home: Path, stderr: int = subprocess.PIPE, **environment: str
) -> tuple[str, str]:
    """stdout and stderr of `code` in a fresh process with this endpoint and cache."""
    keep = {key: value for key, value in os.environ.items() if not key.upper().startswith(("HF_", "HTTP"))}
    keep.update(HF_ENDPOINT=endpoint, HF_HOME=str(home), NO_PROXY="127.0.0.1", **environment)
    keep.update(HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1")
    command = [sys.executable, "-c", textwrap.dedent(CHILD).format(code=code)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=keep, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def fetch(hub: Hub | str, home: Path, *paths: str, revision: str = "main", **environment: str) -> str:
    code = FETCH.format(repo=UNET, paths=paths, revision=revision)
    return run(code, hub if isinstance(hub, str) else hub.url, home, **environment)[0]


@pytest.fixture
def big(hub: Hub) -> bytes:
    """300 kB of something, served as x.bin."""
    data = hashlib.shake_128(b"moebius").digest(300_000)
    hub.files[f"{UNET}/x.bin"] = data
    return data


def test_a_download_is_cached_and_works_offline(hub: Hub, big: bytes, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path, "x.bin")
    assert Path(path).read_bytes() == big
    assert fetch(hub, tmp_path, "x.bin") == path
    assert fetch(hub, tmp_path, "x.bin", HF_HUB_OFFLINE="1") == path
    hub.close()
    assert fetch("http://127.0.0.1:1", tmp_path, "x.bin") == path  # nobody listens there
    assert len(hub.gets()) == 1
    hub.server.server_close()


def test_a_dropped_connection_resumes_where_it_stopped(hub: Hub, big: bytes, tmp_path: Path) -> None:
    hub.drops = 2
    assert Path(fetch(hub, tmp_path, "x.bin")).read_bytes() == big
    spans = [int(line.split("bytes=")[1].rstrip("-")) for line in hub.gets()[1:]]
    assert len(spans) == 2 and 100_000 < spans[0] < spans[1] < 300_000


@pytest.mark.skipif(termios is None, reason="needs a pseudo-terminal")
def test_progress_is_shown_on_a_terminal(hub: Hub, big: bytes, tmp_path: Path) -> None:
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    try:
        code = FETCH.format(repo=UNET, paths=("x.bin",), revision="main")
        run(code, hub.url, tmp_path, stderr=writer)
        shown = os.read(reader, 1 << 16).decode()
    finally:
        os.close(reader)
        os.close(writer)
    assert "x.bin" in shown and "100%" in shown


def test_offline_and_not_cached(hub: Hub, big: bytes, tmp_path: Path) -> None:
    message = fetch(hub, tmp_path, "x.bin", HF_HUB_OFFLINE="1")
    assert message.startswith(
        f"refused: cannot download x.bin of {UNET}: it is not in the cache and HF_HUB_OFFLINE"
    )
    assert hub.log == []


def test_another_name_in_the_cache_is_found_offline(hub: Hub, big: bytes, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path, "x.safetensors", "x.bin")
    assert fetch(hub, tmp_path, "x.safetensors", "x.bin", HF_HUB_OFFLINE="1") == path


def test_the_next_name_is_tried_when_the_first_is_absent(hub: Hub, big: bytes, tmp_path: Path) -> None:
    assert Path(fetch(hub, tmp_path, "x.safetensors", "x.bin")).read_bytes() == big
    message = fetch(hub, tmp_path, "y.bin", "z.bin")
    assert message.startswith(f"refused: cannot download y.bin of {UNET}: it has no such file")


def test_revisions(hub: Hub, big: bytes, tmp_path: Path) -> None:
    assert Path(fetch(hub, tmp_path, "x.bin", revision=COMMIT)).read_bytes() == big
    message = fetch(hub, tmp_path, "x.bin", revision="v9")
    assert "it has no such revision; use one of its branches" in message


def test_a_damaged_cache_is_not_used(hub: Hub, big: bytes, tmp_path: Path) -> None:
    path = Path(fetch(hub, tmp_path, "x.bin")).resolve()
    path.write_bytes(bytes([big[0] ^ 1]) + big[1:])
    message = fetch(hub, tmp_path, "x.bin", HF_HUB_OFFLINE="1")
    assert "is damaged: its SHA-256 is" in message and "delete it and download again" in message


def test_huggingface_hub_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r'pip install -e "\.\[export\]"'):
        download(UNET, ("x.bin",))


def test_pull_and_load_a_whole_checkpoint(hub: Hub, tiny_checkpoint: Path, tmp_path: Path) -> None:
    torch.save(load_file(tiny_checkpoint / "unet.safetensors"), tmp_path / "unet.bin")
    settings = json.loads((tiny_checkpoint / "config.json").read_text())["vae"]
    hub.files = {
        f"{UNET}/ft_places2/diffusion_pytorch_model.bin": (tmp_path / "unet.bin").read_bytes(),
        f"{VAE}/vae/config.json": json.dumps(settings).encode(),
        f"{VAE}/vae/diffusion_pytorch_model.safetensors": (tiny_checkpoint / "vae.safetensors").read_bytes(),
    }
    hub.files[f"{UNET}/ft_ffhq/diffusion_pytorch_model.bin"] = b"<html>busy</html>"
    output, _ = run(WHOLE.format(local=str(tiny_checkpoint)), hub.url, tmp_path / "home")
    lines = output.splitlines()
    assert lines[0] == f"3 places2 Apache-2.0 {UNET}/ft_places2@main True"
    assert lines[1].startswith("refused: diffusion_pytorch_model.bin is neither a whole safetensors file")
    assert len(hub.gets()) == 4  # each file once; loading found them in the cache
