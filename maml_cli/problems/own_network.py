"""`backbone=of_problems`: no network to choose, because the data set brings its own."""

from typing import NoReturn

from pydantic.dataclasses import dataclass

from maml_cli.core.errors import UsageError
from maml_cli.core.settings import STRICT, OfProblems


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OwnNetwork(OfProblems):
    """Stands where other data sets have the settings of a network."""

    name: str

    def build(self, input_shape: tuple[int, ...]) -> NoReturn:
        """There is nothing to build; raises UsageError."""
        raise UsageError(f"backbone={self.name}: the data set brings no network: choose another")
