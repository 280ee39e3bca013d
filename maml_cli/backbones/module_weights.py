"""A module's parameters from a file with its `state_dict`."""

from pathlib import Path

import torch
from torch import nn

from maml_cli.core.errors import UsageError
from maml_cli.core.limits import CHECKPOINT_BYTES
from maml_cli.core.regular_files import read_regular
from maml_cli.core.tensor_files import load_tensors

WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Under these keys training scripts put the state_dict beside other things."""


def load_weights(module: nn.Module, file: str, *, head: str | None) -> None:
    """Put the file's values into the module; the head's may be missing or of another shape.

    No code of the file is run. Raises UsageError.
    """
    path = Path(file).expanduser()
    try:
        found = load_tensors(read_regular(path, CHECKPOINT_BYTES, follow=True), old=True)
    except Exception as error:  # damage shows as almost any exception
        said = error.strerror if isinstance(error, OSError) else str(error)
        reason = next(iter(str(said).splitlines()), type(error).__name__)
        raise UsageError(
            f"backbone.weights={file}: cannot be read as a state_dict ({reason}): save it with "
            "torch.save(module.state_dict(), FILE)"
        ) from error
    for key in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(t, torch.Tensor) for t in found.values()):
        raise UsageError(f"backbone.weights={file}: holds no state_dict (names and tensors)")
    found = {str(n).removeprefix("module."): t for n, t in found.items()}
    wanted = module.state_dict()
    of_head = {f"{head}.weight", f"{head}.bias"} if head is not None else set()
    problems = [
        f"{n} is missing in the file" for n in wanted if n not in found and n not in of_head
    ]
    problems += [f"{n} is not part of the module" for n in found if n not in wanted]
    problems += [
        f"{n} is {tuple(found[n].shape)} in the file, but {tuple(t.shape)} in the module"
        for n, t in wanted.items()
        if n in found and n not in of_head and found[n].shape != t.shape
    ]
    if problems:
        shown = problems[:5] + ([f"and {len(problems) - 5} more"] if len(problems) > 5 else [])
        raise UsageError(f"backbone.weights={file}: {'; '.join(shown)}")
    fitting = {n: t for n, t in found.items() if n not in of_head}
    module.load_state_dict({**wanted, **fitting})
