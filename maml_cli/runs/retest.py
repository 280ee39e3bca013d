"""Another test of a trained run, from its folder to a table."""

from dataclasses import replace
from pathlib import Path

from maml_cli.core.algorithm import misfits
from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.results import Retest, RunResults, Split
from maml_cli.reporting.console import Console
from maml_cli.reporting.kept import kept_files
from maml_cli.reporting.losses import LossesFile
from maml_cli.reporting.plots import CurvesFile
from maml_cli.reporting.reliability import ReliabilityFile
from maml_cli.reporting.reporter import Reporter
from maml_cli.reporting.results import ResultsFile
from maml_cli.reporting.scores import ScoresFile
from maml_cli.reporting.table import TableFile
from maml_cli.runs.assembly import assemble
from maml_cli.runs.bound_data import load_to_test
from maml_cli.runs.calibrate import tested
from maml_cli.runs.devices import choose_device
from maml_cli.runs.keep import require_keepable
from maml_cli.runs.trained import claim, load_trained
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder


def retest(
    folder: Path, experiment: Experiment, split: Split, output_dir: Path, *, new: bool = False
) -> RunResults:
    """Score the best networks of the run in `folder` on a split, by the experiment's settings.

    With `new` the split has the classes that the run does not know.

    Everything is written into `output_dir`. Raises UsageError, DataError, CheckpointError or
    StorageError.
    """
    device = choose_device(experiment.run.device)
    source, said = load_to_test(experiment, device, RunFolder(folder), split, new=new)
    trained = load_trained(folder, experiment, source.objective, device)
    parts = assemble(experiment, source, device)
    require_keepable(parts)
    best = trained.candidates[0]
    carried = parts.engine.algorithm.carried
    if problems := misfits(parts.fresh(), best, apart_from=carried):
        asked = f"ways={source.output_size} on inputs of shape {list(source.input_shape)}"
        raise UsageError(
            *(f"{asked}: {problem}" for problem in problems),
            "A layer keeps the shape it was trained in: leave ways, and the shape of the inputs, "
            "as they are, or train with others.",
        )
    claim(output_dir)
    write_atomically(RunFolder(output_dir).config, experiment.resolved)

    files = (ScoresFile(), ResultsFile(), TableFile(), CurvesFile(), LossesFile())
    kept = kept_files(experiment.eval.keep or ())
    with Reporter([*files, ReliabilityFile(), *kept, Console()]) as reporter:
        protocol, environment = parts.protocol(best), parts.environment()
        protocol = replace(
            protocol,
            train_ways=trained.train_ways,
            train_shots=trained.train_shots,
            train_queries=trained.train_queries,
            remarks=(*protocol.remarks, *said, *trained.remarks),
        )
        info = parts.info(
            protocol,
            environment,
            iteration=trained.iterations,
            epoch=trained.epochs,
            notes=[f"tests the run in {folder} again"],
            output_dir=output_dir,
        )
        reporter.start(info, None)
        found = tested(parts, trained.candidates, split, reporter.evaluating)
        reporter.tested(found.episodes)
        results = RunResults(
            protocol=protocol,
            environment=environment,
            test=found.evaluation,
            validation=trained.validation,
            iterations=trained.iterations,
            iterations_skipped=None,
            seconds_per_iteration=trained.seconds_per_iteration,
            learned=parts.engine.algorithm.remarks(best),
            retest=Retest(run=str(folder), trained_by=trained.command, epochs=trained.epochs),
        )
        reporter.finish(results, found.curves)
    return results
