"""Contract tests for anybody's algorithm, network or engine; each is one call, in float64.

    from maml_cli.testing import check_algorithm, classification
    check_algorithm(lambda network, source: MyAlgorithm(...), classification())

A check raises AssertionError with a sentence that names what is wrong.
"""

from maml_cli.testing.contract import ENGINES, check_algorithm, check_engine, check_network
from maml_cli.testing.problems import Problem, classification, regression

__all__ = [
    "ENGINES",
    "Problem",
    "check_algorithm",
    "check_engine",
    "check_network",
    "classification",
    "regression",
]
