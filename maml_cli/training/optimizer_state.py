"""The state of an optimiser from a checkpoint, which anybody may have written."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def load_state(optimizer: torch.optim.Optimizer, stored: Mapping[str, Any]) -> list[str]:
    """Give the optimiser the stored averages; its rates and other numbers stay its own.

    Returns what is wrong, one phrase each; then nothing is taken over. Before the first update an
    optimiser has no state.
    """
    state, wanted = stored["state"], _after_a_step(optimizer)
    problems = [f"optimizer.state.{key} is not part of it" for key in state if key not in wanted]
    for key, entries in wanted.items() if state else ():
        found = state.get(key)
        if not isinstance(found, dict) or found.keys() != entries.keys():
            problems.append(f"optimizer.state.{key} must have {', '.join(entries)}")
            continue
        problems += [
            f"optimizer.state.{key}.{name} must be {_kind(value)}"
            for name, value in entries.items()
            if _kind(found[name]) != _kind(value)
        ]
    if not problems:
        own = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": own})
    return problems


def _after_a_step(optimizer: torch.optim.Optimizer) -> dict[Any, dict[str, Any]]:
    """The state that such an optimiser has once it has made an update."""
    other = copy.deepcopy(optimizer)
    for group in other.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    other.step()
    found: dict[Any, dict[str, Any]] = other.state_dict()["state"]
    return found


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        shape = " x ".join(map(str, value.shape)) or "one number"
        return f"{shape} of {str(value.dtype).removeprefix('torch.')}"
    return f"a {type(value).__name__}"
