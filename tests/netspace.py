"""Run a command where every address of the internet is this process, and say what it tried to send.

    unshare -rn python tests/netspace.py REPORT COMMAND...

In a new network namespace all addresses are routed to its own loopback device, so that whatever a program
sends, native code included, is counted by the kernel. Names that are looked up come to a name server here,
whatever /etc/resolv.conf says; each is answered with "no such name". REPORT gets the findings as JSON.
"""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROUTES = (
    ("ip", "link", "set", "lo", "up"),
    ("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"),
    ("ip", "-6", "route", "add", "local", "::/0", "dev", "lo"),  # fails where there is no IPv6
)


def name_in(query: bytes) -> str:
    """The name that a DNS query asks for: labels behind a header of 12 bytes (RFC 1035, 4.1.2)."""
    labels, at = [], 12
    while query[at : at + 1] not in (b"", b"\0"):
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels)


def answer_names(server: socket.socket, names: list[str]) -> None:
    """Note each name, and answer that there is none (RFC 1035, 4.1.1: a response with code 3)."""
    while True:
        query, sender = server.recvfrom(4096)
        names.append(name_in(query))
        server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], sender)


def counted() -> dict[str, int]:
    """What was begun in this namespace: connections and datagrams, over IPv4 and IPv6."""
    found: dict[str, int] = {}
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    for head, values in zip(lines[::2], lines[1::2], strict=True):
        found |= {f"{head[0]}{name}": int(value) for name, value in zip(head[1:], values[1:], strict=True)}
    six = Path("/proc/net/snmp6")
    datagrams = [line.split() for line in six.read_text().splitlines()] if six.exists() else []
    found |= {name: int(value) for name, value in datagrams}
    return {
        "connections": found["Tcp:ActiveOpens"],  # both versions
        "datagrams": found["Udp:OutDatagrams"] + found.get("Udp6OutDatagrams", 0),
    }


def main() -> None:
    for command in ROUTES:
        subprocess.run(command, capture_output=True, check=command[1] != "-6")
    names: list[str] = []
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        server = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, 53))
        threading.Thread(target=answer_names, args=(server, names), daemon=True).start()
    done = subprocess.run(sys.argv[2:], check=False)
    Path(sys.argv[1]).write_text(json.dumps({"names": sorted(set(names)), **counted()}))
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
