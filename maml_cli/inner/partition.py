"""The parts of a network, told apart by the backbones' naming rule."""

from typing import Literal

Part = Literal["body", "norm", "head"]
"""`head`: the last layer; `norm`: gains and biases of batch norms; `body`: everything else."""


def part_of(name: str) -> Part:
    """The part that a parameter belongs to."""
    if name.startswith("head."):
        return "head"
    return "norm" if ".norm." in name else "body"
