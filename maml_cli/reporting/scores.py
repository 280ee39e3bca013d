"""`test_scores.json`: the test episode by episode, for comparisons in pairs and for calibration."""

from typing import Any

from torch import Tensor

from maml_cli.core.json_text import to_json
from maml_cli.core.records import RunInfo, ScoredEpisodes, Sink
from maml_cli.core.scoring import EpisodeScores
from maml_cli.core.types import Episode
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder

DECIMALS = 6


class ScoresFile(Sink):
    """Writes the metric of every test episode, and the scores and bins of its probabilities."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).scores

    def tested(self, episodes: ScoredEpisodes) -> None:
        content: dict[str, Any] = {
            "ensemble": episodes.ensemble,
            "single": episodes.single,
            "calibration": {n: _columns(scores) for n, scores in episodes.calibration.items()},
        }
        if episodes.milestones:
            content["after"] = {str(step): losses for step, losses in episodes.milestones.items()}
        write_atomically(self._path, to_json(content) + "\n")


def _columns(scores: EpisodeScores) -> dict[str, Any]:
    """A number per episode, or a row of bins."""
    return {name: _numbers(values) for name, values in {**scores.values, **scores.bins}.items()}


def _numbers(values: Tensor) -> Any:
    whole = bool((values == values.round()).all())
    return values.long().tolist() if whole else values.round(decimals=DECIMALS).tolist()
