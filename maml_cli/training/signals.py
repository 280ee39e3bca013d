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

from maml_cli.core.errors import Interrupted, OutOfTime, UserError
from maml_cli.distributed import ranks
from maml_cli.distributed.collectives import highest

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
EXIT_CODE = 143
"""Also for SIGHUP (the terminal is gone), for SIGUSR1 and 2 (schedulers announce SIGTERM by them),
and for the end of the time."""
EXIT_CODE_SIGINT = 130
REPEAT_SECONDS = 0.5
"""`timeout` and schedulers send a signal to a process and to its group: that counts as one."""
WATCH_SECONDS = 0.25
GRACE_SECONDS = 3.0
WATCHER = "end-with-parent"
_TIME_OVER = 1000
"""Among numbers of signals, and above them: what all processes can agree on by the highest."""
_SHOW_CURSOR = "\x1b[?25h"


class Stop(BaseException):
    """Raised where nothing is half done; no `except Exception` takes it for an error."""

    def __init__(self, error: UserError) -> None:
        super().__init__(error)
        self.error = error
        """What the run ends with."""


class StopRequests:
    """Turns a first signal into Stop at a good moment; a second one ends the process at once.

    Signals are listened to between `__enter__` and `__exit__`, in the main thread of a process. The
    clock starts with `__enter__`. `hint` tells the user how the run can go on.
    """

    def __init__(self, max_minutes: float | None = None, hint: str = "") -> None:
        self._minutes = float("inf") if max_minutes is None else max_minutes
        self._hint = hint
        self._received: tuple[int, float] | None = None
        self._interruptible = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequests":
        self._started = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._receive)
                for number in SIGNALS
                if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP  # nohup
            }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._received and error is not None:
            handler = self._before.get(signal.Signals(self._received[0]))
            if callable(handler) and handler is not signal.default_int_handler:
                handler(self._received[0], None)  # submitit puts the job back into the queue

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What runs within may be given up at any point: a signal raises Stop there and then.

        Not where other processes wait for what this one computes: they stop together, at `check`.
        """
        self._interruptible = ranks.size() == 1
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def check(self) -> None:
        """Raise Stop if a signal has come or the time is over, in any process of the run."""
        own = self._received[0] if self._received else _TIME_OVER if self._is_late() else 0
        if reason := highest(own):
            raise self._stop(reason)

    def _is_late(self) -> bool:
        return time.monotonic() - self._started >= 60 * self._minutes

    def _stop(self, reason: int) -> Stop:
        if reason == _TIME_OVER:
            limit = f"stopped by the time limit of {self._minutes} minutes"
            return Stop(OutOfTime(f"{limit}; {self._hint}"))
        text = f"stopped by {signal.Signals(reason).name}; {self._hint}"
        return Stop(Interrupted(text, _exit_code(reason)))

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._received is None:
            self._received = number, now
            if self._interruptible:
                raise self._stop(number)
        elif now - self._received[1] >= REPEAT_SECONDS:
            if sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR.encode())  # the progress bar hides it
            os._exit(_exit_code(number))


def end_with_parent() -> None:
    """In a worker of a sweep or of torchrun: when the process that started it dies, stop too."""
    started = any(thread.name == WATCHER for thread in threading.enumerate())
    of_sweep = multiprocessing.current_process().name != "MainProcess"
    if started or not (of_sweep or ranks.size() > 1):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        if of_sweep:
            time.sleep(GRACE_SECONDS)  # the worker would wait for more jobs
            os._exit(EXIT_CODE)

    threading.Thread(target=watch, name=WATCHER, daemon=True).start()


def _exit_code(number: int) -> int:
    return EXIT_CODE_SIGINT if number == signal.SIGINT else EXIT_CODE
