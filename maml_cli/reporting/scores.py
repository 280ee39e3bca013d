"""`test_scores.json`: the test episode by episode, for comparisons in pairs."""

from collections.abc import Sequence

from maml_cli.core.records import RunInfo, Sink
from maml_cli.core.types import Episode
from maml_cli.storage.files import to_json, write_atomically


class ScoresFile(Sink):
    """Writes the metric of every test episode after the last inner step."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._output_dir = info.output_dir

    def tested(self, ensemble: Sequence[float], single: Sequence[float]) -> None:
        content = {"ensemble": ensemble, "single": single}
        write_atomically(self._output_dir / "test_scores.json", to_json(content) + "\n")
