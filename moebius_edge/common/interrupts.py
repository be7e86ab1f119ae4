"""End a process by Ctrl-C when native code keeps it from Python, where a signal's handler would run.

The interpreter writes a byte for every signal to a file of our choice (signal.set_wakeup_fd), at once and
whatever the main thread does. A thread reads it: engines let other threads run while they compute.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

INTERRUPTED = 130  # exit code: 128 + SIGINT, as shells have it
MOMENT = 1.5  # seconds in which an engine usually comes back to Python
HINT = "Ctrl-C waits for the engine to come back; press Ctrl-C again to end at once"
ENDED = "stopped at once; what is half-written has a hidden name, and the next run removes it"


class _Watch:
    """The thread that sees every signal, and the handler that Python calls when it can."""

    def __init__(self, moment: float) -> None:
        self.moment = moment
        self.handled = threading.Event()
        from socket import socketpair  # noqa: PLC0415 (4 MB, of which a library that is imported has no need)

        self.reading, self.writing = socketpair()  # not a pipe: Windows takes sockets alone
        self.writing.setblocking(False)
        self.thread = threading.Thread(target=self._follow, name="interrupts", daemon=True)

    def handle(self, number: int, frame: object) -> None:
        """Raise KeyboardInterrupt, as Python does by itself."""
        self.handled.set()
        signal.default_int_handler(number, None)

    def _follow(self) -> None:
        """Say what a second Ctrl-C does when the first one has had no effect for a moment, and do it."""
        while self._next():
            if self.handled.wait(self.moment):
                self.handled.clear()
                continue
            _say(HINT)
            while self._next():
                if not self.handled.is_set():
                    _say(ENDED)
                    os._exit(INTERRUPTED)
                self.handled.clear()
                break

    def _next(self) -> bool:
        """Wait for the next SIGINT; False when there will be none."""
        with suppress(OSError):
            while number := self.reading.recv(1):
                if number[0] == signal.SIGINT:
                    return True
        return False


@contextmanager
def ended_by_two_interrupts(moment: float = MOMENT) -> Iterator[None]:
    """While the block runs, let a second Ctrl-C end the process when the first has had no effect.

    `moment`: seconds after which that is so. Only in the main thread, and where nobody has decided otherwise.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    watch = _Watch(moment)
    before = signal.set_wakeup_fd(watch.writing.fileno(), warn_on_full_buffer=False)
    if before != -1:  # somebody else's, like an event loop's
        signal.set_wakeup_fd(before)
        yield
        return
    signal.signal(signal.SIGINT, watch.handle)
    watch.thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
        watch.writing.close()
        watch.thread.join()
        watch.reading.close()


def _say(line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)
