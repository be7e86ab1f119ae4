"""Ctrl-C while native code keeps the main thread: once it waits, twice it ends the process."""

import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from moebius_edge.common.interrupts import ENDED, HINT, ended_by_two_interrupts

CHILD = """
    import ctypes, sys, threading, time
    from moebius_edge.common.interrupts import ended_by_two_interrupts
    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)

    def tell():
        while libc.pthread_mutex_trylock(mutex) == 0:
            libc.pthread_mutex_unlock(mutex)
            time.sleep(0.01)
        time.sleep(0.3)  # the main thread has the lock and is about to wait for it
        print("ready", flush=True)

    with ended_by_two_interrupts(moment=float(sys.argv[2])):
        try:
            if sys.argv[1] == "hangs":  # locking it twice waits for ever, signals or not
                threading.Thread(target=tell, daemon=True).start()
                libc.pthread_mutex_lock(mutex)
                libc.pthread_mutex_lock(mutex)
            print("ready", flush=True)
            threading.Event().wait(60)
        except KeyboardInterrupt:
            print("caught", flush=True)
            sys.exit(7)
"""


def child(native: str, moment: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(CHILD), native, str(moment)]
    made = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert made.stdout is not None and made.stdout.readline() == "ready\n"
    return made


def test_twice_ends_a_process_that_native_code_keeps() -> None:
    process = child("hangs", 0.05)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None and process.stderr.readline() == HINT + "\n"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", ENDED + "\n")


def test_once_is_enough_where_python_runs() -> None:
    process = child("waits", 20.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (7, "caught\n", "")


def test_what_wakes_somebody_else_stays_theirs() -> None:
    ours, theirs = socket.socketpair()  # as an event loop has it
    with ours, theirs:
        ours.setblocking(False)
        signal.set_wakeup_fd(ours.fileno())
        try:
            with ended_by_two_interrupts():
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert signal.set_wakeup_fd(-1) == ours.fileno()
        finally:
            signal.set_wakeup_fd(-1)


def test_it_goes_as_it_came() -> None:
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), ended_by_two_interrupts():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            with ended_by_two_interrupts():  # the inner one leaves everything to the outer
                os.kill(os.getpid(), signal.SIGINT)
                signal.sigtimedwait([], 1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.set_wakeup_fd(-1) == -1
