"""`test_scores.json`: the test episode by episode, for comparisons in pairs."""

from collections.abc import Mapping, Sequence

from maml_cli.core.json_text import to_json
from maml_cli.core.records import RunInfo, Sink
from maml_cli.core.types import Episode
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder


class ScoresFile(Sink):
    """Writes the metric of every test episode after the last inner step, and after milestones."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).scores

    def tested(
        self,
        ensemble: Sequence[float],
        single: Sequence[float],
        milestones: Mapping[int, Sequence[float]],
    ) -> None:
        content: dict[str, object] = {"ensemble": ensemble, "single": single}
        if milestones:
            content["after"] = {str(step): losses for step, losses in milestones.items()}
        write_atomically(self._path, to_json(content) + "\n")
