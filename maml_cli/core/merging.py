"""From what single tasks say to what a batch says: each section by the rule declared for it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from maml_cli.core.algorithm import LOG, Merge, Sections, TaskStep

Rules = Mapping[str, Merge]


def merged(steps: Iterable[TaskStep], rules: Rules) -> TaskStep:
    """The step of a batch from those of its tasks, in order; each is read once.

    Raises TypeError where `rules` does not say how a section is merged, or says what cannot be.
    """
    iterator = iter(steps)
    total = _as_rows(next(iterator), rules)
    count = 1
    for step in iterator:
        total = _joined(total, _as_rows(step, rules), rules)
        count += 1
    return _on_means(total, rules, lambda t: t / count)


def merged_stack(stack: TaskStep, rules: Rules) -> TaskStep:
    """The same from one step whose tensors have the tasks as a first dimension."""
    pick: dict[Merge, Callable[[Tensor], Tensor]] = {
        "mean": lambda t: t.mean(0),
        "last": lambda t: t[-1],
        "rows": lambda t: t,
    }
    _check(stack.outputs, rules)
    outputs = {s: tree_map(pick[_rule(s, rules)], t) for s, t in stack.outputs.items()}
    return TaskStep(tree_map(pick["mean"], stack.gradient), outputs)


def merged_shares(steps: Sequence[TaskStep], weights: Sequence[float], rules: Rules) -> TaskStep:
    """The same from the merged steps of shares of a batch, in order; the weights add up to 1."""
    weighted = (
        _on_means(step, rules, partial(torch.mul, other=weight))
        for step, weight in zip(steps, weights, strict=True)
    )
    return reduce(lambda one, other: _joined(one, other, rules), weighted)


def parted(step: TaskStep, rules: Rules) -> tuple[TaskStep, Sections]:
    """What is merged by the mean, and the outputs that are not."""
    means = {s: t for s, t in step.outputs.items() if _rule(s, rules) == "mean"}
    others = {s: t for s, t in step.outputs.items() if s not in means}
    return TaskStep(step.gradient, means), others


def _rule(section: str, rules: Rules) -> Merge:
    if section == LOG:
        return "mean"
    if section not in rules:
        raise TypeError(
            f"a task's outputs have the section {section!r}, but the algorithm's `merges` does not "
            f"say how it is merged over the tasks: add {section!r}: 'mean', 'last' or 'rows'"
        )
    return rules[section]


def _check(outputs: Sections, rules: Rules) -> None:
    for section, tensors in outputs.items():
        if _rule(section, rules) == "mean":
            for name, tensor in tensors.items():
                if not tensor.is_floating_point():
                    raise TypeError(
                        f"{section}.{name} is {tensor.dtype}, which has no mean over tasks: "
                        "declare its section as 'last' or 'rows' in `merges`"
                    )


def _as_rows(step: TaskStep, rules: Rules) -> TaskStep:
    _check(step.outputs, rules)
    outputs = {
        s: {n: t.unsqueeze(0) for n, t in tensors.items()} if _rule(s, rules) == "rows" else tensors
        for s, tensors in step.outputs.items()
    }
    return TaskStep(step.gradient, outputs)


def _joined(one: TaskStep, other: TaskStep, rules: Rules) -> TaskStep:
    join: dict[Merge, Callable[[Tensor, Tensor], Tensor]] = {
        "mean": torch.add,
        "last": lambda _, second: second,
        "rows": lambda first, second: torch.cat([first, second]),
    }

    def both(first: Sections, second: Sections, rule: Callable[[str], Merge]) -> Sections:
        return {
            s: {n: join[rule(s)](t, second[s][n]) for n, t in tensors.items()}
            for s, tensors in first.items()
        }

    return TaskStep(
        both(one.gradient, other.gradient, lambda _: "mean"),
        both(one.outputs, other.outputs, lambda s: _rule(s, rules)),
    )


def _on_means(step: TaskStep, rules: Rules, function: Callable[[Tensor], Tensor]) -> TaskStep:
    outputs = {
        s: tree_map(function, tensors) if _rule(s, rules) == "mean" else tensors
        for s, tensors in step.outputs.items()
    }
    return TaskStep(tree_map(function, step.gradient), outputs)
