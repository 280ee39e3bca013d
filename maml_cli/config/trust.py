"""Which code a configuration may name: that of the program, and that of modules the user named.

A saved configuration, and a YAML file in a folder, may come from another person. A name in it is
looked up without importing anything, and is used only if it belongs to the program or lies in a
folder that the user named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from maml_cli.core.errors import UsageError

PACKAGE = __name__.partition(".")[0]
NETWORKS = ("torchvision.models", "torch.nn")
"""Their networks are part of what the program offers; see backbones/module.py."""
_PART = r"(?!__)[A-Za-z_]\w*"
_NAME = re.compile(rf"{_PART}(\.{_PART})+", re.ASCII)
_NETWORK = re.compile(rf"({'|'.join(map(re.escape, NETWORKS))})\.{_PART}", re.ASCII)


class Untrusted(UsageError):
    """A configuration names code that lies in no folder which the user named."""


def refusal(key: str, name: str, folders: Sequence[Path]) -> str | None:
    """Why the name may not be imported, with the way out; None if it may be."""
    if not _NAME.fullmatch(name):
        return f"{key}={name[:100]}: is no name of a class; write package.Class"
    top = name.partition(".")[0]
    if top == PACKAGE or _NETWORK.fullmatch(name) or any(_lies_in(top, f) for f in folders):
        return None
    return (
        f"{key}={name}: is not part of the program, and lies in no folder that you named; if you "
        f"trust the module {top}, name its folder with --module-path DIR"
    )


def _lies_in(module: str, folder: Path) -> bool:
    """Whether an import of this top-level module would take the one in the folder."""
    try:
        inside, imported = PathFinder.find_spec(module, [str(folder)]), find_spec(module)
    except (ImportError, ValueError):
        return False
    return inside is not None and imported is not None and _places(inside) == _places(imported)


def _places(spec: ModuleSpec) -> list[str]:
    found = [spec.origin] if spec.origin else [*(spec.submodule_search_locations or ())]
    return [str(Path(place).resolve()) for place in found]
