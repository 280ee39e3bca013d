"""Use of a trained run: from a user's own pictures to predictions."""

from pathlib import Path

from maml_cli.core.algorithm import misfits
from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.objective import CLASSIFICATION
from maml_cli.data.inventory import ImageDataset
from maml_cli.data.own_pictures import OwnPictures, OwnTask, find_own_pictures
from maml_cli.data.record import read_record
from maml_cli.reporting.console import show_answers
from maml_cli.reporting.format import count
from maml_cli.reporting.predictions import (
    Predictions,
    csv_text,
    markdown,
    score,
    terminal_table,
)
from maml_cli.reporting.predictions_figure import write_figure
from maml_cli.reporting.table import BATCH_NORM
from maml_cli.runs.assembly import Assembly, assemble
from maml_cli.runs.devices import choose_device
from maml_cli.runs.trained import Trained, claim, load_trained
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder


def classify(
    folder: Path,
    experiment: Experiment,
    dataset: ImageDataset,
    *,
    support: Path,
    query: Path,
    output_dir: Path,
) -> Predictions:
    """Adapt the run in `folder` to the pictures of `support` and classify those of `query`.

    `dataset` is the experiment's.
    Everything is written into `output_dir`. Raises UsageError, DataError, CheckpointError,
    DivergedError or StorageError.
    """
    own = find_own_pictures(support, query)
    device = choose_device(experiment.run.device)
    trained = load_trained(folder, experiment, CLASSIFICATION, device)
    best = trained.candidates[0]
    record = read_record(RunFolder(folder).data)
    # a classifier of all training classes has a head of theirs; nobody else asks for their number
    head = best.theta.get("model", {}).get("head.weight", ())
    task = OwnTask(
        own,
        dataset.picture_form(record.values if record else None),
        device,
        train_classes=len(head),
        seed=experiment.run.seed,
    )
    parts = assemble(experiment, task, device)
    if misfits(parts.fresh(), best):
        raise UsageError(_other_ways(support, task.output_size, experiment.run.ways), *own.said)
    episodes = task.with_each(parts.support_sets(task.counts))
    answers = parts.answers(trained.candidates, episodes).averaged()
    spread = answers.spread
    claim(output_dir)
    output = RunFolder(output_dir)
    predictions = Predictions(
        classes=own.labels,
        pictures=own.names,
        probabilities=answers.probabilities[0].cpu().numpy(),
        spread=None if spread is None else spread[0].cpu().numpy(),
        truth=own.truth,
    )
    notes = _notes(parts, own, trained, predictions, sets=len(episodes.key))
    text = "\n\n".join([f"# Predictions of {folder}", markdown(predictions), *notes])
    write_atomically(output.predictions_csv, csv_text(predictions))
    write_atomically(output.table, f"{text}\n\n`{experiment.command}`\n")
    write_figure(
        output.predictions_figure,
        predictions,
        queries=task.query_pixels,
        support=task.support_pixels,
        labels=task.support_labels,
    )
    show_answers(
        terminal_table(predictions), markdown(predictions), notes, output.predictions_figure
    )
    return predictions


def _other_ways(support: Path, found: int, needed: int) -> str:
    """That the support set has too many classes, or too few."""
    way_out = f"add {needed - found}" if found < needed else f"take {found - needed} away"
    return (
        f"support={support}: has {count(found, 'class', 'classes')}, but the run tells {needed} "
        f"apart, with an output for each: {way_out}, or take a run that was trained with "
        f"ways={found}"
    )


def _notes(
    parts: Assembly, own: OwnPictures, trained: Trained, predictions: Predictions, *, sets: int
) -> list[str]:
    """What the numbers are, and what their reader must know."""
    bn_stats = parts.experiment.eval.bn_stats
    given = sum(len(c.pictures) for c in own.classes)
    conditions = [
        f"{count(len(own.classes), 'class', 'classes')} from {count(given, 'picture', 'pictures')}",
        count(parts.steps, "inner step", "inner steps"),
        *([f"batch norm by {BATCH_NORM[bn_stats]}"] if parts.normalises else []),
        f"probabilities are the softmax of the mean outputs of "
        f"{count(len(trained.candidates), 'epoch', 'epochs')}"
        + (f" and {sets} support sets with as many of each class" if sets > 1 else ""),
    ]
    if predictions.spread is not None:
        conditions.append("spread is the standard deviation over the samples")
    notes = ["; ".join(conditions) + ".", *parts.source.remarks, *trained.remarks]
    largest = max(len(c.pictures) for c in own.classes)
    if parts.most_shots is not None and largest > parts.most_shots:
        notes.append(
            f"The run reads at most {count(parts.most_shots, 'picture', 'pictures')} of a class at "
            f"once; the {largest} were read in {sets} parts."
        )
    if said := score(predictions):
        notes = [f"{said}.", *notes]
    if parts.normalises and bn_stats == "batch":
        notes.append(
            "The pictures of query were normalised together, so others beside them would change "
            "the answers; eval.bn_stats=support judges each by itself."
        )
    elif parts.normalises and bn_stats != trained.bn_stats:
        notes.append(
            f"The run itself was tested with eval.bn_stats={trained.bn_stats}; with {bn_stats} "
            "each picture is judged by itself."
        )
    return notes
