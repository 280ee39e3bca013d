"""Another test of a run that was trained, from its folder to a table."""

from pathlib import Path
from typing import Any, Literal

from maml_cli.core.algorithm import misfits
from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.reporting.console import Console
from maml_cli.reporting.plots import CurvesFile
from maml_cli.reporting.reporter import Reporter
from maml_cli.reporting.results import ResultsFile
from maml_cli.reporting.scores import ScoresFile
from maml_cli.reporting.table import TableFile
from maml_cli.runs.assembly import assemble, choose_device
from maml_cli.runs.trained import claim, load_trained
from maml_cli.storage.files import write_atomically


def retest(
    folder: Path, experiment: Experiment, split: Literal["val", "test"], output_dir: Path
) -> dict[str, Any]:
    """Score the best networks of the run in `folder` on a split, by the experiment's settings.

    Everything is written into `output_dir`. Raises UsageError, DataError, CheckpointError or
    StorageError.
    """
    device = choose_device(experiment.run.device)
    source = experiment.dataset.load(experiment.run, device)
    trained = load_trained(folder, experiment, source.objective, device)
    parts = assemble(experiment, source, device)
    best = trained.candidates[0]
    if problems := misfits(parts.fresh(), best):
        asked = f"ways={source.output_size} on inputs of shape {list(source.input_shape)}"
        raise UsageError(
            *(f"{asked}: {problem}" for problem in problems),
            "A layer keeps the shape it was trained in: leave ways, and the shape of the inputs, "
            "as they are, or train with others.",
        )
    claim(output_dir)
    write_atomically(output_dir / "config.yaml", experiment.resolved)

    with Reporter([ScoresFile(), ResultsFile(), TableFile(), CurvesFile(), Console()]) as reporter:
        facts = parts.facts(best)
        facts["remarks"] += trained.remarks
        info = parts.info(
            facts,
            iteration=trained.facts["iterations"],
            epoch=trained.facts["epochs"],
            notes=[f"tests the run in {folder} again"],
            output_dir=output_dir,
        )
        reporter.start(info, None)
        episodes = {"val": experiment.eval.val_episodes, "test": experiment.eval.test_episodes}
        scores = parts.scores(trained.candidates, split, episodes[split], reporter.evaluating)
        reporter.tested(scores.ensemble[:, -1].tolist(), scores.single[:, -1].tolist())
        results = {
            **facts,
            **parts.tested(scores, len(trained.candidates)),
            **trained.facts,
            "split": split,
            "run": str(folder),
        }
        reporter.finish(results, parts.curves(best))
    return results
