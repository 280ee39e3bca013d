"""What a test keeps of its queries, if `eval.keep` asks for it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.errors import UsageError
from maml_cli.core.eval_settings import OF_FEATURES
from maml_cli.core.records import Queries
from maml_cli.core.results import Split
from maml_cli.core.scoring import ClassScoring
from maml_cli.core.types import Evaluation
from maml_cli.engines.per_task import loop
from maml_cli.runs.assembly import Assembly
from maml_cli.runs.evaluation import EPISODES_AT_ONCE, Scores


def require_keepable(parts: Assembly) -> None:
    """Raise UsageError if `eval.keep` asks for what the data or the learner do not have."""
    settings, objective = parts.experiment.eval, parts.source.objective
    if settings.keep and not isinstance(objective.scoring, ClassScoring):
        raise UsageError(
            f"eval.keep=[{','.join(settings.keep)}]: it is about classes, and "
            f"dataset={parts.experiment.dataset.name} has none: set eval.keep=null"
        )
    if settings.keeps(*OF_FEATURES) and not parts.engine.algorithm.has_features:
        raise UsageError(
            f"eval.keep=[{','.join(settings.keep or ())}]: algo={parts.experiment.algo.name} does "
            f"not say what the features of a query are: leave {' and '.join(OF_FEATURES)} out, or "
            "define the method features of the algorithm (core/algorithm.py)"
        )


def kept_queries(parts: Assembly, best: MetaParameters, split: Split, scores: Scores) -> Queries:
    """The queries of the scored episodes of a split; their features are those of `best`."""
    source, episodes = parts.source, len(scores.targets)
    class_names = getattr(source, "class_names", None)  # a data set of one's own may lack them
    query_files = getattr(source, "query_files", None)
    names = class_names(split) if class_names is not None else ()
    unnamed = range(len(names), int(scores.classes.max()) + 1)
    wanted = parts.experiment.eval.keeps(*OF_FEATURES)
    return Queries(
        labels=scores.targets.numpy(),
        classes=scores.classes.numpy(),
        names=[*names, *(f"class {number}" for number in unnamed)],
        files=query_files(split, 0, episodes) if query_files is not None else None,
        probabilities=scores.predictive.double().softmax(-1).numpy(),
        features=_features(parts, best, split, episodes) if wanted else (),
    )


def _features(
    parts: Assembly, best: MetaParameters, split: Split, episodes: int
) -> Sequence[NDArray[np.floating]]:
    """Of each query before and after the adaptation; once if they are the same."""
    after = tuple(sorted({0, parts.steps}))
    evaluation = Evaluation(after, parts.experiment.eval.bn_stats)
    engine, found = loop(parts.engine.algorithm), []
    for start in range(0, episodes, EPISODES_AT_ONCE):
        batch = parts.source.episodes(split, start, min(EPISODES_AT_ONCE, episodes - start))
        found.append(engine.features(best, batch, evaluation).cpu())
    columns = torch.cat(found).unbind(1)
    same = all(torch.equal(columns[0], column) for column in columns)
    return [column.numpy() for column in columns[: 1 if same else None]]
