"""The device of a run."""

import torch

from maml_cli.core.errors import UsageError
from maml_cli.distributed import ranks


def choose_device(name: str) -> torch.device:
    """The named device; `auto` is cuda where there is one. Raises UsageError.

    Each of several processes on a machine has a GPU of its own.
    """
    here = devices_here()
    kind, _, number = name.partition(":")
    if kind == "auto":
        kind = "cuda" if "cuda:0" in here else "cpu"
    if kind == "cpu":
        return torch.device("cpu")
    index = int(number or ranks.local_rank())
    wanted = f"cuda:{index}" if kind == "cuda" else kind
    if number and ranks.size() > 1:
        raise UsageError(f"device={name}: each process takes a GPU of its own: set device=cuda")
    if wanted not in here:
        more = "; --nproc-per-node is above the number of GPUs" if ranks.local_rank() else ""
        raise UsageError(
            f"device={name}: torch finds no {wanted} here{more}: choose device={' or '.join(here)}"
        )
    if kind == "mps":
        return torch.device("mps")
    torch.cuda.set_device(index)
    # else cuDNN rounds to TF32, and a second-order gradient amplifies rounding
    torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]
    return torch.device("cuda", index)


def devices_here() -> list[str]:
    """The devices that torch finds on this machine, as `device` names them."""
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(f"cuda:{index}" for index in range(cuda)), *mps]


def device_name(device: torch.device) -> str:
    """`cpu`, or the model of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
