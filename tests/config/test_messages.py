"""The sentences about settings."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from maml_cli.config.messages import rule, typed, unknown_key, unknown_option


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (int, "a whole number"),
        (bool, "true or false"),
        (str, "text"),
        (Annotated[int, Field(ge=0, le=9)], "a whole number, at least 0 and at most 9"),
        (Annotated[float, Field(gt=0, lt=1)], "a number, above 0 and below 1"),
        (Annotated[float | None, Field(gt=0)], "a number, above 0, or null"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Literal[1, 2], "1 or 2"),
        (
            Annotated[tuple[int, ...], Field(max_length=3)],
            "a list, at most 3 long, each a whole number",
        ),
        (list[Annotated[int, Field(ge=1)]], "a list, each a whole number, at least 1"),
    ],
)
def test_rule(annotation: Any, sentence: str) -> None:
    assert rule(annotation) == sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.5, "0.5"),
        ([1, None], "[1,null]"),
        ({"a": [1]}, "{a:[1]}"),
    ],
)
def test_values_are_shown_as_they_are_typed(value: Any, text: str) -> None:
    assert typed(value) == text


def test_the_nearest_key_is_in_the_same_or_another_section() -> None:
    known = ["ways", "algo.inner_lr", "train.outer_lr"]
    assert unknown_key("algo.iner_lr", known).endswith("did you mean algo.inner_lr?")
    assert unknown_key("algo.outer_lr", known).endswith("did you mean train.outer_lr?")
    assert unknown_key("outr_lr", known).endswith("did you mean train.outer_lr?")
    assert (
        unknown_key("trainer.max_epochs", known) == "trainer.max_epochs: no such key; train.epochs"
    )
    assert "logger=[tensorboard" in unknown_key("wandb", known)
    assert "init_from=DIR" in unknown_key("model.pretrained", known)
    assert unknown_key("zzzzzz", known) == "zzzzzz: no such key; maml-train --help lists them"


def test_all_options_are_said() -> None:
    sentence = unknown_option("algo", "mam", ["maml", "reptile"])
    assert sentence == "algo=mam: no such algo; did you mean maml? There are maml or reptile."
