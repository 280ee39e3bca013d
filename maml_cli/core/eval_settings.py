"""The settings of validation and test, each with its type, range and meaning; without torch."""

from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.settings import STRICT, BatchNormStats

Keep = Literal["predictions", "features", "pca", "tsne"]
MAPS: tuple[Keep, ...] = ("pca", "tsne")
OF_FEATURES: tuple[Keep, ...] = ("features", *MAPS)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvalSettings:
    """Validation and test."""

    val_episodes: Annotated[int, Field(ge=2, description="validation episodes after each epoch")]
    test_episodes: Annotated[int, Field(ge=2, description="test episodes at the end")]
    course_episodes: Annotated[
        int | None,
        Field(
            ge=2,
            description="test episodes on which accuracy after each inner step is measured, of the "
            "best epoch alone; null: all",
        ),
    ]
    ensemble: Annotated[int, Field(ge=1, description="best checkpoints whose logits are averaged")]
    inner_steps: Annotated[
        int | None, Field(ge=0, le=100_000, description="adaptation steps; null: as trained")
    ]
    bn_stats: Annotated[
        BatchNormStats,
        Field(
            description="batch norm at evaluation: of the queries, of the support set, of that "
            "with one query at a time, or running"
        ),
    ]

    keep: Annotated[
        list[Keep] | None,
        Field(
            min_length=1,
            description="files about every query: predictions, features, or a map of these by "
            "pca or tsne; null: none",
        ),
    ]

    def keeps(self, *names: Keep) -> bool:
        """Whether one of these is asked for."""
        return not set(names).isdisjoint(self.keep or ())

    def check_keep(self, dataset: str, ways: int) -> list[str]:
        """What of `keep` cannot be, one sentence each."""
        if not self.keep:
            return []
        asked = f"eval.keep=[{','.join(self.keep)}]"
        if ways == 1:
            return [
                f"{asked}: it is about classes, and dataset={dataset} has none: set eval.keep=null"
            ]
        if self.keeps(*MAPS) and find_spec("sklearn") is None:
            return [
                f"{asked}: a map needs scikit-learn, which is not installed: pip install "
                '"maml-train[map]", or leave pca and tsne out'
            ]
        return []

    def check_no_steps(self, algo: str) -> list[str]:
        """For algorithms without inner steps: one sentence if some are asked."""
        if not self.inner_steps:
            return []
        return [
            f"algo={algo} takes no inner steps, but eval.inner_steps={self.inner_steps}: "
            "set eval.inner_steps=null"
        ]
