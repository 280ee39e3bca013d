"""Files of torch that others may have written: looked through before torch builds what they say.

`torch.load(weights_only=True)` runs no code of a file. But a file of some bytes can still fill the
memory (a packed archive), or keep it busy for ever (tuples of tuples as keys, a program without
end).
"""

import io
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from maml_cli.core.limits import CHECKPOINT_STEPS, TUPLE_ITEMS, scaled, too_large
from maml_cli.core.pickles import GuardedUnpickler

_PROGRAM = "data.pkl"
_PROGRAMS_OF_OLD = 5
"""Before torch 1.6 a file was pickles one after the other: number, version, machine, content, keys
of the tensors."""


def load_tensors(data: bytes, *, old: bool = False) -> Any:
    """What a file of torch holds, on the CPU. `old` takes the form before torch 1.6 too.

    Raises ValueError, or almost any other exception, if it is damaged or beyond the limits.
    """
    if old and not zipfile.is_zipfile(io.BytesIO(data)):
        if not data.startswith(pickle.PROTO):
            raise ValueError("it is no file of torch.save")
        program = io.BytesIO(data)
        for _ in range(_PROGRAMS_OF_OLD):
            _Look(program).load()
    else:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _require_stored(archive, len(data))
            for member in archive.infolist():
                if member.filename.lower().endswith(_PROGRAM):
                    _Look(io.BytesIO(archive.read(member))).load()
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _require_stored(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError if the archive would grow when it is read; torch packs nothing."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or (
        sum(member.file_size for member in members) > size
    ):
        raise ValueError("it is packed, which a checkpoint is not")


class _Made:
    """Stands for whatever a pickle makes."""

    def __new__(cls, *_: Any) -> "_Made":
        return super().__new__(cls)

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def append(self, item: Any) -> None: ...


class _Tuple(tuple[Any, ...]):
    """A tuple of limited size, which counts what it holds as often as it holds it."""

    size: int

    def __new__(cls, items: tuple[Any, ...]) -> "_Tuple":
        made = super().__new__(cls, items)
        made.size = 1 + sum(item.size if isinstance(item, _Tuple) else 1 for item in items)
        if made.size > (most := scaled(TUPLE_ITEMS)):
            raise ValueError(f"a tuple in it holds {too_large(made.size, most, 'values')}")
        return made


class _Look(GuardedUnpickler):
    """Makes stand-ins alone; raises ValueError beyond the limits."""

    dispatch: ClassVar[dict[int, Any]] = dict(GuardedUnpickler.dispatch)

    def __init__(self, program: io.BytesIO) -> None:
        super().__init__(_Counted(program))

    def find_class(self, module: str, name: str) -> Any:
        return _Made

    def persistent_load(self, key: Any) -> Any:
        return _Made()


def _sized(make: Callable[[_Look], None]) -> Callable[[_Look], None]:
    """An instruction that makes a tuple, such that its size is counted."""

    def make_sized(look: _Look) -> None:
        make(look)
        look.stack[-1] = _Tuple(look.stack[-1])

    return make_sized


for _instruction in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
    _Look.dispatch[_instruction[0]] = _sized(_Look.dispatch[_instruction[0]])


class _Counted:
    """A program whose instructions are counted."""

    def __init__(self, program: io.BytesIO) -> None:
        self._program, self._steps = program, 0

    def read(self, size: int) -> bytes:
        self._steps += 1
        if self._steps > (most := scaled(CHECKPOINT_STEPS)):
            raise ValueError(f"it has {too_large(self._steps, most, 'steps')}")
        return self._program.read(size)

    def readline(self) -> bytes:
        return self._program.readline()
