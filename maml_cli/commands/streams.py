"""Standard output and error whose reader may have gone."""

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, ClassVar, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_GONE = (errno.EPIPE, errno.EIO)
"""The errors of writing once a pipe's reader, or the terminal, is gone."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of writing to a file that cannot grow. A training goes on: its results are in its folder."""


@contextmanager
def lasting() -> Iterator[None]:
    """Ignore a lost reader, and a full disk, behind standard output and error.

    So a training goes on when its terminal is gone, and `maml-report | head -1` ends with its usual
    exit code. A console that cannot show ± shows a question mark. Streams that are not files of the
    operating system, as in a notebook, are left as they are.
    """
    with ExitStack() as held:
        for redirect, stream in ((redirect_stdout, sys.stdout), (redirect_stderr, sys.stderr)):
            if (made := _lasting(stream)) is not None:
                held.enter_context(redirect(made))
                held.callback(made.flush)
        yield


def _lasting(stream: TextIO | None) -> io.TextIOWrapper | None:
    if not isinstance(stream, io.TextIOWrapper):  # None: closed
        return None
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        return None
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


class Lost:
    """Whether something printed was lost for want of space."""

    full: ClassVar[bool] = False


class _Lasting(io.FileIO):
    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (*_GONE, *_FULL):
                raise
            Lost.full = Lost.full or error.errno in _FULL
            return memoryview(data).nbytes
