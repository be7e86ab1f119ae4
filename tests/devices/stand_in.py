#!/usr/bin/env -S python3 -I -S
"""Stands in for adb or xcrun: replays a conversation, and fails on anything else.

$STAND_IN names a JSON list of steps, in order:

    args    the expected arguments; "$ANY" is any one; "$SHA256:..." a file that has this SHA-256; "$OUT" a
            file that `file` is written to
    out     what is printed, or a list of [seconds before it, text]
    err, code, hang (after `out`, until it is stopped), file
    repeat  the step may come any number of times, also none

How far the conversation is lies in $STAND_IN.at, and what was not expected in $STAND_IN.failed.
"""

import fcntl
import hashlib
import json
import os
import sys
import time
from pathlib import Path


def matches(expected, found):
    """Whether an argument is the expected one."""
    if expected.startswith("$SHA256:"):
        return hashlib.sha256(Path(found).read_bytes()).hexdigest() == expected.removeprefix("$SHA256:")
    return expected in ("$ANY", "$OUT", found)


def fits(step, arguments):
    """Whether this step is meant."""
    same = len(step["args"]) == len(arguments)
    return same and all(map(matches, step["args"], arguments))


def next_step(talk, arguments):
    """The step for these arguments, and move on; None for a call that is not expected."""
    with Path(os.environ["STAND_IN"] + ".at").open("a+") as place:
        fcntl.flock(place, fcntl.LOCK_EX)
        place.seek(0)
        at = int(place.read() or 0)
        while at < len(talk) and talk[at].get("repeat") and not fits(talk[at], arguments):
            at += 1
        if at == len(talk) or not fits(talk[at], arguments):
            with Path(os.environ["STAND_IN"] + ".failed").open("a") as file:
                expected = talk[at]["args"] if at < len(talk) else "nothing more"
                print(f"found {arguments}, expected {expected}", file=file)
            return None
        place.truncate(0)
        place.write(str(at if talk[at].get("repeat") else at + 1))
        return talk[at]


def main():
    """Answer one call."""
    talk = json.loads(Path(os.environ["STAND_IN"]).read_text())
    step = next_step(talk, sys.argv[1:])
    if step is None:
        print("error: the stand-in did not expect this", file=sys.stderr)
        return 97
    if "file" in step:
        Path(sys.argv[1:][step["args"].index("$OUT")]).write_text(step["file"])
    out = step.get("out", "")
    for seconds, text in [[0, out]] if isinstance(out, str) else out:
        time.sleep(seconds)
        print(text, end="", flush=True)
    print(step.get("err", ""), end="", file=sys.stderr, flush=True)
    if step.get("hang"):
        time.sleep(60)
    return step.get("code", 0)


sys.exit(main())
