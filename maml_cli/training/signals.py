"""Requests to stop: a signal, or the end of the time allowed."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
EXIT_CODE = 143
"""Also for SIGUSR1 and 2, by which schedulers announce SIGTERM, and for the end of the time."""
EXIT_CODE_SIGINT = 130
REPEAT_SECONDS = 0.5
"""`timeout` and schedulers send a signal to a process and to its group: that counts as one."""
WATCH_SECONDS = 0.25
GRACE_SECONDS = 3.0
WATCHER = "end-with-parent"
_SHOW_CURSOR = "\x1b[?25h"


class Stop(BaseException):
    """Raised where nothing is half done; no `except Exception` takes it for an error."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class StopRequests:
    """Turns a first signal into Stop at a good moment; a second one ends the process at once.

    Signals are listened to between `__enter__` and `__exit__`, in the main thread of a process. The
    clock starts with `__enter__`.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        self._seconds = float("inf") if max_minutes is None else 60 * max_minutes
        self._limit = f"the time limit of {max_minutes} minutes"
        self._received: tuple[signal.Signals, float] | None = None
        self._interruptible = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequests":
        self._started = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What runs within may be given up at any point: a signal raises Stop there and then."""
        self._raise_if_received()
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def check(self) -> None:
        """Raise Stop if a signal has come or the time is over."""
        self._raise_if_received()
        if time.monotonic() - self._started >= self._seconds:
            raise Stop(self._limit, EXIT_CODE)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._received is None:
            self._received = signal.Signals(number), now
            if self._interruptible:
                self._interruptible = False
                self._raise_if_received()
        elif now - self._received[1] >= REPEAT_SECONDS:
            if sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR.encode())  # the progress bar hides it
            os._exit(_exit_code(number))

    def _raise_if_received(self) -> None:
        if self._received is not None:
            number = self._received[0]
            raise Stop(number.name, _exit_code(number))


def end_with_parent() -> None:
    """In a worker process of a sweep: when the process that started it dies, stop too."""
    started = any(thread.name == WATCHER for thread in threading.enumerate())
    if started or multiprocessing.current_process().name == "MainProcess":
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)  # the worker would wait for more jobs
        os._exit(EXIT_CODE)

    threading.Thread(target=watch, name=WATCHER, daemon=True).start()


def _exit_code(number: int) -> int:
    return EXIT_CODE_SIGINT if number == signal.SIGINT else EXIT_CODE
