"""What every reader of a stranger's pickle has to guard."""

import pickle
from typing import Any, ClassVar


class GuardedUnpickler(pickle._Unpickler):
    """Python's own reader in Python, with keys that are quickly hashed and no room in advance.

    Names are still looked up: a subclass decides about them in `find_class`. Raises ValueError.
    """

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_key(key)] = value

    def _set_items(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        for place in range(0, len(items) - 1, 2):
            self.stack[-1][_key(items[place])] = items[place + 1]

    dispatch[pickle.SETITEM[0]] = _set_item
    dispatch[pickle.SETITEMS[0]] = _set_items
    # Python's own way makes room for as many bytes as the pickle says, before it reads them
    dispatch[pickle.BYTEARRAY8[0]] = dispatch[pickle.BINBYTES8[0]]


def _key(key: Any) -> Any:
    """Tuples within tuples take for ever to be hashed, and no key that is needed is one."""
    if not isinstance(key, str | bytes | int | float):
        raise ValueError(f"a key that is a {type(key).__name__}")
    return key
