"""Downloads, against a local server that speaks the hub's protocol.

Each case runs in a process of its own, because the hub's client reads its environment when it is imported.
"""

import contextlib
import hashlib
import json
import os
import socket
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

from moebius_edge.checkpoints.hub import PATIENCE, ask_hub
from moebius_edge.common.errors import CheckpointError

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = COMMIT[::-1]
UNET, VAE = "hustvl/Moebius", "hustvl/PixelHacker"
PLACES2 = "ft_places2/diffusion_pytorch_model.bin"
COMMITS = {UNET: COMMIT, VAE: OTHER}


class Hub:
    """What the hub's `resolve` and its API answer, for files by "repo/path"; it has every revision but "v9".

    Keeps a log, and can drop connections.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.log: list[str] = []  # "GET path" or "GET path bytes=N-"; "API repo@revision"
        self.agents: set[str] = set()  # what clients say of themselves
        self.claimed: dict[str, int] = {}  # sizes that the API claims in the place of the real ones
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
                hub.agents.add(self.headers.get("User-Agent", ""))
                if self.path.startswith("/api/"):
                    self.describe(self.path.partition("?")[0].removeprefix("/api/models/"))
                    return
                repo, _, rest = self.path.lstrip("/").partition("/resolve/")
                revision, _, path = rest.partition("/")
                span = self.headers.get("Range")
                hub.log.append(" ".join(filter(None, [self.command, f"{repo}/{path}", span])))
                data = hub.files.get(f"{repo}/{path}")
                if revision == "v9" or data is None:
                    self.fail("RevisionNotFound" if revision == "v9" else "EntryNotFound")
                    return
                start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
                self.send_response(206 if span else 200)
                self.send_header("X-Repo-Commit", COMMITS[repo])
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

            def describe(self, path: str) -> None:
                """What a repository has, as `GET /api/models/REPO/revision/REVISION?blobs=True` says it."""
                repo, _, revision = path.partition("/revision/")
                hub.log.append(f"API {repo}@{revision}")
                if revision == "v9" or repo not in COMMITS:
                    self.fail("RevisionNotFound" if revision == "v9" else "RepoNotFound")
                    return
                files = {
                    name.removeprefix(f"{repo}/"): hub.claimed.get(name, len(data))
                    for name, data in hub.files.items()
                    if name.startswith(f"{repo}/")
                }
                siblings = [{"rfilename": name, "size": size} for name, size in files.items()]
                body = json.dumps({"id": repo, "sha": COMMITS[repo], "siblings": siblings}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

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
    from moebius_edge.common.errors import MoebiusError
    from huggingface_hub import constants
    constants.DOWNLOAD_CHUNK_SIZE = 1 << 14
    try:
        {code}
    except MoebiusError as error:
        print("refused:", error)
"""
FETCH = (
    "from moebius_edge.checkpoints.hub import ask_hub, fetch;"
    " print(fetch(*ask_hub(({repo!r}, {revision!r})), {paths!r}))"
)


WHOLE = (
    "from moebius_edge.checkpoints.checkpoint import weights_sha256;"
    " from moebius_edge.checkpoints.load import load_checkpoint, pull;"
    " files = pull('places2');"
    " c = load_checkpoint('places2'); same = weights_sha256(c) == weights_sha256(load_checkpoint({local!r}));"
    " print(len(files), c.name, c.license, c.source, same, *c.origins.values()); pull('ffhq')"
)
# `_download` alone: what is known before torch is imported, which takes seconds.
KNOWN = (
    "from moebius_edge.checkpoints import load;"
    " found = load._download(load.MODELS['places2'], {revision!r}, {autoencoder_revision!r});"
    " print(found.license, *found.origins.values(), 'torch' in sys.modules, sep='|')"
)


def run(
    code: str, endpoint: str, home: Path, stderr: int = subprocess.PIPE, **environment: str
) -> tuple[str, str]:
    """stdout and stderr of `code` in a fresh process with this endpoint and cache."""
    keep = {key: value for key, value in os.environ.items() if not key.upper().startswith(("HF_", "HTTP"))}
    keep.update(HF_ENDPOINT=endpoint, HF_HOME=str(home), NO_PROXY="127.0.0.1", **environment)
    keep.update(HF_HUB_DISABLE_XET="1")
    keep.pop("HF_HUB_DISABLE_TELEMETRY", None)
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
        ask_hub((UNET, None))


def test_pull_and_load_a_whole_checkpoint(hub: Hub, tiny_checkpoint: Path, tmp_path: Path) -> None:
    torch.save(load_file(tiny_checkpoint / "unet.safetensors"), tmp_path / "unet.bin")
    settings = json.loads((tiny_checkpoint / "config.json").read_text())["vae"]
    hub.files = {
        f"{UNET}/{PLACES2}": (tmp_path / "unet.bin").read_bytes(),
        f"{VAE}/vae/config.json": json.dumps(settings).encode(),
        f"{VAE}/vae/diffusion_pytorch_model.safetensors": (tiny_checkpoint / "vae.safetensors").read_bytes(),
    }
    hub.files[f"{UNET}/ft_ffhq/diffusion_pytorch_model.bin"] = b"<html>busy</html>"
    output, _ = run(WHOLE.format(local=str(tiny_checkpoint)), hub.url, tmp_path / "home")
    lines = output.splitlines()
    origins = f"{UNET}@{COMMIT} {VAE}@{OTHER}"
    assert lines[0] == f"3 places2 MIT {UNET}/ft_places2@{COMMIT} True {origins}"
    assert lines[1].startswith("refused: diffusion_pytorch_model.bin is neither a whole safetensors file")
    assert len(hub.gets()) == 4  # each file once; loading found them in the cache


@pytest.fixture
def published(hub: Hub) -> Hub:
    """The files of places2, as far as names go."""
    names = (f"{UNET}/{PLACES2}", f"{VAE}/vae/config.json", f"{VAE}/vae/diffusion_pytorch_model.bin")
    hub.files = dict.fromkeys(names, b"{}")
    return hub


def known(revision: str | None = None, autoencoder_revision: str | None = None) -> str:
    return KNOWN.format(revision=revision, autoencoder_revision=autoencoder_revision)


def test_licence_and_commits_are_those_that_were_downloaded(published: Hub, tmp_path: Path) -> None:
    published.files[f"{UNET}/README.md"] = b"---\nlicense: apache-2.0\n---\n"  # the table says MIT
    expected = f"Apache-2.0 AND MIT|{UNET}@{COMMIT}|{VAE}@{OTHER}|False"
    assert run(known(), published.url, tmp_path)[0] == expected
    # And the hub learns nothing but what is fetched.
    asked = {line.partition(" ")[2] for line in published.log}
    assert asked == {f"{UNET}@main", f"{VAE}@main", *published.files}
    said = " ".join(published.agents)
    assert "hf_hub/" in said and "torch/" not in said and "agent/" not in said
    assert run(known(), published.url, tmp_path, HF_HUB_OFFLINE="1")[0] == expected


def test_each_repository_has_a_revision_of_its_own(published: Hub, tmp_path: Path) -> None:
    run(known("v1", OTHER), published.url, tmp_path)
    asked = [line for line in published.log if line.startswith("API")]
    assert asked == [f"API {UNET}@v1", f"API {VAE}@{OTHER}"]
    message, _ = run(known(None, "v9"), published.url, tmp_path)
    assert message.startswith(f"refused: cannot download from {VAE}: it has no such revision")


def test_a_full_disk_is_said_before_anything_is_fetched(published: Hub, tmp_path: Path) -> None:
    published.claimed = {
        f"{UNET}/{PLACES2}": 904_000_000,
        f"{VAE}/vae/diffusion_pytorch_model.bin": 335_000_000,
    }
    free = "import shutil; shutil.disk_usage = lambda path: shutil._ntuple_diskusage(0, 0, {}); "
    message, _ = run(free.format(1_238_000_000) + known(), published.url, tmp_path / "home")
    assert message.startswith("refused: 1,239 MB are to be downloaded to ")
    assert "whose disk has 1,238 MB free; make room, or let HF_HOME name" in message
    assert published.gets() == []
    # What was begun is resumed, and what is there is not fetched again.
    blobs = tmp_path / "home" / "hub" / "models--hustvl--Moebius" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "x.incomplete").write_bytes(bytes(2_000_000))
    published.claimed[f"{UNET}/{PLACES2}"] -= 1
    assert "refused" not in run(free.format(1_238_000_000) + known(), published.url, tmp_path / "home")[0]
    assert "refused" not in run(free.format(0) + known(), published.url, tmp_path / "home")[0]


@pytest.fixture(params=["closed", "silent", "slow"])
def dead(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a mirror that refuses connections, takes them and says nothing, or drips for ever."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if request.param == "closed":
            server.close()

        def drip() -> None:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError):
                while not ended.wait(0.2):
                    client.sendall(b"H")

        if request.param == "slow":
            threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{port}"
        ended.set()


def test_a_dead_mirror_is_one_sentence_soon(dead: str, tmp_path: Path) -> None:
    message, said = run(known(), dead, tmp_path, HF_HUB_ETAG_TIMEOUT="1")
    assert message.startswith("refused: cannot download vae/config.json of ") and said == ""
    assert f"{dead} gives no usable answer (" in message and "HF_ENDPOINT" in message
    assert "\n" not in message and PATIENCE < 10


def test_what_is_in_the_cache_needs_no_mirror(published: Hub, tmp_path: Path) -> None:
    found, _ = run(known(), published.url, tmp_path)
    assert run(known(), "http://127.0.0.1:1", tmp_path)[0] == found


@pytest.mark.parametrize("answer", [b"<html>log in</html>", b'{"id": "x", "sha": "../..", "siblings": []}'])
def test_an_answer_that_is_none(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(json, "dumps", lambda _: answer.decode())
    message = fetch(hub, tmp_path, "x.bin")
    assert "gives no usable answer" in message and hub.gets() == []


@pytest.mark.parametrize("size", [-1, 10**400], ids=["negative", "huge"])
def test_sizes_that_no_file_has_are_not_believed(published: Hub, tmp_path: Path, size: int) -> None:
    published.claimed = {f"{UNET}/{PLACES2}": size}
    assert "refused" not in run(known(), published.url, tmp_path / "home")[0]
