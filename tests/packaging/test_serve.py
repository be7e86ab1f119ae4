"""The page's files with the headers that they need, and nothing else of this machine."""

import http.client
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moebius_edge.common.errors import InvalidInput
from moebius_edge.packaging.serve import HEADERS, Handler, make_server


@pytest.fixture
def site(tmp_path: Path) -> Path:
    dist = tmp_path / "app" / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html><title>Moebius</title>")
    (dist / "assets" / "engine.wasm").write_bytes(b"\0asm")
    (dist / "assets" / "worker.mjs").write_text("export {}")
    (tmp_path / "app" / "package.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("secret")
    (dist / "way-out").symlink_to(tmp_path / "secret.txt")
    (dist / "sub").mkdir()
    (dist / "sub" / "index.html").symlink_to(tmp_path / "secret.txt")
    (dist / "circle").symlink_to("circle")
    os.mkfifo(dist / "pipe")
    (dist / "large.bin").write_bytes(bytes(8_000_000))
    return tmp_path / "app"


@pytest.fixture
def port(site: Path) -> Iterator[int]:
    with make_server(site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def get(
    port: int, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_the_built_page_is_found_and_isolated(port: int) -> None:
    status, headers, body = get(port, "/")
    assert status == 200 and b"Moebius" in body and headers.items() >= HEADERS.items()
    assert get(port, "/assets/engine.wasm")[1]["Content-type"] == "application/wasm"
    assert get(port, "/assets/worker.mjs")[1]["Content-type"] == "text/javascript"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/%2e%2e/secret.txt",
        "/assets/../../../secret.txt",
        "/way-out",
        "/sub/",
        "/circle",
        "/pipe",
        "/a%00b",
        f"/{'a' * 5000}",
        "/package.json",
        "/assets/",
        "//etc/passwd",
        "/none",
    ],
)
def test_nothing_else_is_served(port: int, path: str) -> None:
    status, headers, body = get(port, path)
    assert status == 404 and b"secret" not in body and headers.items() >= HEADERS.items()


def test_no_name_is_looked_up(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a name was looked up")

    for function in ("getfqdn", "gethostbyaddr", "getaddrinfo"):
        monkeypatch.setattr(socket, function, refuse)
    with make_server(site) as server:
        assert server.server_name == "127.0.0.1" and server.server_port > 0


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_names_of_this_machine(port: int, host: str) -> None:
    assert get(port, "/", host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1"])
def test_another_site_cannot_read_it_under_its_own_name(port: int, host: str) -> None:
    for path in ("/", "/assets/engine.wasm", "/assets"):
        status, headers, body = get(port, path, host=host)
        assert status == 421 and b"Moebius" not in body and headers.items() >= HEADERS.items()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 501), ("TRACE", 501), ("PUT", 501)])
def test_other_methods(port: int, method: str, status: int) -> None:
    found, headers, body = get(port, "/", method)
    assert found == status and headers.items() >= HEADERS.items() and b"Moebius" not in body


def test_a_browser_that_goes_away_is_no_news(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /large.bin HTTP/1.0\r\n\r\n")
        connection.recv(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset it
    assert get(port, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_what_cannot_be_served(site: Path, tmp_path: Path, port: int) -> None:
    with pytest.raises(InvalidInput, match=r"no index\.html"):
        make_server(tmp_path)
    with pytest.raises(InvalidInput, match="does not exist"):
        make_server(tmp_path / "nothing")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is a bundle; first moebius-edge package"):
        make_server(tmp_path / "bundle")
    with pytest.raises(InvalidInput, match=f"cannot serve on port {port}: .*--port"):
        make_server(site, port)
    with pytest.raises(InvalidInput, match="70000 is no port"):
        make_server(site, 70000)


def test_a_connection_that_stands_still_is_closed(
    site: Path, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert 0 < Handler.timeout <= 60
    monkeypatch.setattr(Handler, "timeout", 0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as half_open:
        half_open.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert half_open.recv(100) == b""  # closed, not reset
    assert get(port, "/")[0] == 200
    assert capfd.readouterr().err == ""
