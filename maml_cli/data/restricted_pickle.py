"""Reads arrays of bytes from a pickle, and runs nothing that the pickle names.

A pickle is a program. This reader knows the instructions for numbers, text, bytes, lists, tuples
and dictionaries, and stand-ins for the few names with which NumPy's arrays are written; any other
instruction or name is refused. Large contents stay in the file, which is mapped: the reader in C
would copy them.
"""

import mmap
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maml_cli.core.errors import DataError
from maml_cli.core.limits import PICKLE_STEPS, scaled, too_large
from maml_cli.core.pickles import GuardedUnpickler
from maml_cli.core.regular_files import open_regular

_LARGE = 2**20
_DEEPEST = 4
_REFUSED = (
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.PERSID, pickle.BINPERSID),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


def read_pickle(path: Path) -> Any:
    """What the file holds: dict, list, tuple, str, bytes, numbers, and arrays of bytes.

    Arrays are read-only; large ones are `np.memmap`. Raises DataError for anything else.
    """
    try:
        with open_regular(path, follow=True) as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return _plain(_Reader(_View(content)).load(), path, content)
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as error:  # a damaged pickle can make its reader raise anything
        said = error.strerror if isinstance(error, OSError) else str(error)
        reason = said or type(error).__name__
    raise DataError(
        f"{path}: not a pickle of arrays ({reason}); get it again, from a source that you trust"
    )


class _View:
    """A file whose large parts are read as views."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._place, self._steps = content, 0, 0

    def read(self, size: int) -> bytes | memoryview:
        self._steps += 1
        if self._steps > scaled(PICKLE_STEPS):
            raise ValueError(f"it has {too_large(self._steps, scaled(PICKLE_STEPS), 'steps')}")
        start, self._place = self._place, self._place + size
        part = self._content[start : self._place]
        if len(part) != size:
            raise EOFError("it is cut short")
        return part if size >= _LARGE else bytes(part)

    def readline(self) -> bytes:
        start = self._place
        line, newline, _ = bytes(self._content[start : start + _LARGE]).partition(b"\n")
        self._place += len(line + newline)
        return line + newline


class _DType:
    """Stands for a NumPy dtype; only that of a byte is known."""

    def __init__(self, name: Any) -> None:
        if name not in ("u1", "|u1"):
            raise ValueError(f"an array of {name}, where bytes are expected")


class _Array:
    """Stands for a NumPy array until its content has been read."""

    shape: tuple[int, ...]
    content: Any

    def fill(self, shape: Any, dtype: Any, fortran_order: Any, content: Any) -> None:
        if not isinstance(dtype, _DType) or fortran_order:
            raise ValueError("an array that is not of bytes in C order")
        self.shape, self.content = shape, content


def _encode(text: Any, encoding: Any) -> bytes:
    """Python 3 writes bytes as latin-1 text where a pickle has no bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise ValueError("text that is not latin-1")
    return text.encode("latin1")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """How NumPy writes an array in protocol 5."""
    array = _Array()
    array.fill(shape, dtype, order != "C", content)
    return array


def _dtype(name: Any, *_: Any) -> _DType:
    return _DType(name)


_NAMES = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): "ndarray",  # an argument only
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
}


class _Reader(GuardedUnpickler):
    """The guarded reader, less the instructions that make objects."""

    dispatch: ClassVar[dict[int, Any]] = {
        instruction: follow
        for instruction, follow in GuardedUnpickler.dispatch.items()
        if instruction not in b"".join(_REFUSED)
    }

    def __init__(self, file: _View) -> None:
        super().__init__(file, encoding="latin1")  # type: ignore[arg-type]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise ValueError(f"it names {module}.{name}, which is not used")
        return _NAMES[module, name]

    def _decode_string(self, value: bytes | memoryview) -> str | memoryview:
        return value.decode("latin1") if isinstance(value, bytes) else value

    def _build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if isinstance(made, _Array):
            _, *parts = state
            made.fill(*parts)
        elif not isinstance(made, _DType):
            raise ValueError("it sets the state of what is no array")

    dispatch[pickle.BUILD[0]] = _build


def _plain(value: Any, path: Path, file: memoryview, depth: int = 0) -> Any:
    """The same, with arrays in place of what stands for them; they lie at most four levels deep."""
    if isinstance(value, dict):
        if depth == _DEEPEST:
            raise ValueError("it is nested too deeply")
        return {key: _plain(item, path, file, depth + 1) for key, item in value.items()}
    return _filled(value, path, file) if isinstance(value, _Array) else value


def _filled(array: _Array, path: Path, file: memoryview) -> NDArray[np.uint8]:
    content = array.content
    if isinstance(content, str):
        content = content.encode("latin1")
    filled = np.frombuffer(content, np.uint8).reshape(array.shape)
    if isinstance(content, bytes):
        return filled
    offset = filled.ctypes.data - np.frombuffer(file, np.uint8).ctypes.data
    return np.memmap(path, np.uint8, "r", offset, array.shape)
