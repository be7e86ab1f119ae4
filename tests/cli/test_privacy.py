"""Nothing is sent and nothing is written beside the output: commands in a sandbox, on a network of their own.

Files are compared before and after in HOME, TMPDIR and the XDG folders. What is sent is counted by the kernel
(`tests/netspace.py`): a hook in Python would not see what native code sends, and strace is not everywhere.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.telemetry import ONNX_RUNTIME, ROWS

NETSPACE = Path(__file__).parents[1] / "netspace.py"
# Not CI, in which ONNX Runtime sends nothing by itself, and none of the switches.
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "OMP_NUM_THREADS")
SILENT = {"names": [], "connections": 0, "datagrams": 0}
FIRST_SENDING = 12  # seconds; ONNX Runtime 1.32 looked its collector up after 9

# One process for all commands, because torch and the engine take seconds to start.
COMMANDS = """
import json, sys
from moebius_edge import cli
for arguments in json.loads(sys.argv[1]):
    try:
        cli.app(arguments)
    except SystemExit as stop:
        assert not stop.code, (arguments, stop.code)
"""


@dataclass(frozen=True)
class Ran:
    """What a program did in the sandbox."""

    sent: dict[str, Any]
    written: set[str]  # files that are new, by their path in the sandbox
    out: str


@cache
def namespace() -> tuple[str, ...] | None:
    """The command that gives a program a network of its own; None where it cannot be had, or not be seen."""
    look_up = "import socket\ntry: socket.getaddrinfo('seen.invalid', 80)\nexcept OSError: pass"
    for command in (("unshare", "-rn"), ("unshare", "-n")):
        try:
            whole = [*command, sys.executable, str(NETSPACE), "/dev/stderr", sys.executable, "-c", look_up]
            done = subprocess.run(whole, capture_output=True, text=True, check=False, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and "seen.invalid" in done.stderr:
            return command
    return None


@pytest.fixture
def network() -> None:
    if namespace() is None:
        pytest.skip("no network namespace in which lookups are seen: needs Linux, unshare and ip")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def run(root: Path, *program: str, **switches: str) -> Ran:
    """Run Python in the sandbox `root`, in its folder `work`."""
    folders = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config"}
    folders |= {"XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run"}
    for folder in (*folders.values(), "work"):
        (root / folder).mkdir(exist_ok=True)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {name: str(root / folder) for name, folder in folders.items()} | switches
    report = root.parent / f"{root.name}.json"
    command = [*(namespace() or ()), sys.executable, str(NETSPACE), str(report)] if namespace() else []
    before = files(root)
    done = subprocess.run(
        [*command, sys.executable, *program],
        cwd=root / "work",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sent = json.loads(report.read_text()) if command else SILENT
    return Ran(sent, files(root) - before, done.stdout)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    return folder


def test_inpaint_verify_profile_and_package_write_their_output_alone(
    small: Bundle, root: Path, photo: Path, mask: Path
) -> None:
    licence = root.parent / "licence.txt"
    licence.write_text("Do what you like.\n")
    bundle = str(small.folder)
    commands = [
        ["inpaint", bundle, str(photo), str(mask), "-o", "result.png"],
        ["verify", bundle, "--no-reference"],
        ["profile", bundle, "--runs", "3", "--graph", "decoder"],
        ["package", bundle, "--platform", "web", "-o", "page", "--license", str(licence)],
    ]
    ran = run(root, "-c", COMMANDS, json.dumps(commands))
    assert ran.sent == SILENT
    assert {name for name in ran.written if not name.startswith("work/page/")} == {"work/result.png"}
    assert "work/page/package.json" in ran.written


SERVE = """
import os, signal, socket, sys, threading
from moebius_edge import cli
from moebius_edge.packaging import serve
def visit(server):
    with socket.create_connection(server.server_address) as client:
        client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(client.makefile("rb").readline().decode())
    os.kill(os.getpid(), signal.SIGINT)
def serve_forever(server, forever=serve.Server.serve_forever):
    threading.Thread(target=visit, args=(server,)).start()
    forever(server)
serve.Server.serve_forever = serve_forever
try:
    cli.app(["serve", "site", "--port", "0"])
except SystemExit as stop:
    assert not stop.code
"""


def test_serve_sends_nothing_but_its_answer(root: Path) -> None:
    (root / "work" / "site").mkdir(parents=True)
    (root / "work" / "site" / "index.html").write_text("<!doctype html><title>x</title>")
    ran = run(root, "-c", SERVE)
    assert "200 OK" in ran.out and ran.written == set()
    assert ran.sent in (SILENT, {**SILENT, "connections": 1})  # the visitor's


@pytest.mark.full
def test_export_writes_its_bundle_alone_and_a_long_process_looks_nothing_up(
    network: None, small_checkpoint: Path, root: Path
) -> None:
    code = f"{COMMANDS}\nimport time; time.sleep({FIRST_SENDING})"
    ran = run(root, "-c", code, json.dumps([["export", str(small_checkpoint), "-o", "new.moebius"]]))
    assert ran.sent == SILENT
    assert "work/new.moebius/manifest.json" in ran.written
    assert {name for name in ran.written if not name.startswith("work/new.moebius/")} == set()


ENGINE = "import moebius_edge, onnxruntime, time; time.sleep({})"


def test_users_may_leave_the_switch_on_and_the_sandbox_sees_what_the_engine_writes(
    network: None, root: Path
) -> None:
    assert run(root, "-c", ENGINE.format(0)).written == set()
    ran = run(root, "-c", ENGINE.format(0), **{ONNX_RUNTIME: "0"})
    if not ran.written:
        pytest.skip("this ONNX Runtime has no telemetry")
    assert any(name.endswith("/deviceid") for name in ran.written)


@pytest.mark.full
def test_the_sandbox_sees_what_the_engine_looks_up(network: None, root: Path) -> None:
    ran = run(root, "-c", ENGINE.format(FIRST_SENDING), **{ONNX_RUNTIME: "0"})
    if not ran.written:
        pytest.skip("this ONNX Runtime has no telemetry")
    assert ran.sent["names"] and ran.sent["datagrams"]


def test_every_switch_is_set_before_an_engine_can_be_imported_and_for_children_too(root: Path) -> None:
    variables = [row.variable for row in ROWS if row.variable]
    assert ONNX_RUNTIME in variables and "HF_HUB_DISABLE_TELEMETRY" in variables
    child = f"import os; print(*(os.environ.get(name) for name in {variables}))"
    code = (
        "import sys, moebius_edge, subprocess\n"
        "assert not {'onnxruntime', 'torch', 'diffusers', 'huggingface_hub'} & set(sys.modules)\n"
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    assert run(root, "-c", code).out.split() == ["1"] * len(variables)
    assert run(root, "-c", code, **dict.fromkeys(variables, "0")).out.split() == ["0"] * len(variables)
