"""torchvision beside a CPU build of torch.

torchvision's binary wheels are built against CUDA builds of torch. Beside a CPU build its compiled
operators do not load, and the import stops where their Python side is registered. What is wanted
here is plain Python: the missing operators are declared, without code, and the import tried again.
"""

import importlib
import sys
from types import ModuleType

import torch

from maml_cli.core.errors import DataError

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declarations: list[torch.library.Library] = []  # they last as long as the object that made them


def import_torchvision(module: str) -> ModuleType:
    """A module of torchvision; raises DataError, with the way out, if it cannot be imported."""
    try:
        return importlib.import_module(module)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    except ImportError as error:
        raise _unusable(error) from error
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in _OPERATORS:
        library.define(operator + _SCHEMA)  # type: ignore[no-untyped-call]
    _declarations.append(library)
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> DataError:
    return DataError(
        f"torchvision cannot be imported beside torch {torch.__version__} ({error}): install the "
        "two releases that belong together, in one pip command, or get the data by hand."
    )
