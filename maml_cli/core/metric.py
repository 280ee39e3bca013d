"""What is reported of a run: the metric's name, its direction and its unit."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric as reports name, sort and show it."""

    name: str
    higher_is_better: bool
    unit: Literal["%", ""] = ""
    """`%`: stored as a fraction between 0 and 1, shown in percent. Empty: shown as it is stored."""
    per_step: bool = False
    """Whether the reported result is the whole course over the inner steps, not its end alone."""
    few_shot: bool = True
    """Whether it is of queries after adaptation to shots; else of an optimisation problem."""

    @property
    def scale(self) -> int:
        """The factor from a stored value to a shown one: 100 for percent, else 1."""
        return 100 if self.unit == "%" else 1

    def improves(self, difference: float) -> bool:
        """Whether a result that is larger by `difference` (negative: smaller) is better."""
        return (difference > 0) == self.higher_is_better

    def to_maximize(self, value: float) -> float:
        """The value that a search maximises: the metric, or minus it where lower is better."""
        return value if self.higher_is_better else -value


ACCURACY = Metric(name="accuracy", higher_is_better=True, unit="%")
MSE = Metric(name="mse", higher_is_better=False, per_step=True)
LOSS = Metric(name="loss", higher_is_better=False, per_step=True, few_shot=False)
METRICS = {metric.name: metric for metric in (ACCURACY, MSE, LOSS)}
"""The metrics of the shipped data sets, by name."""
