"""Use of a trained regression: from a user's own points to a curve with bands."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from maml_cli.core.errors import CheckpointError, DataError
from maml_cli.core.experiment import Experiment
from maml_cli.data.columns import Columns, Numbers, original, seen
from maml_cli.data.own_points import OwnPoints, find_own_points
from maml_cli.report.run_files import read_results
from maml_cli.reporting.console import show_answers
from maml_cli.reporting.figures import write_png
from maml_cli.reporting.fits import Fit, csv_text, markdown, score, shown, terminal_table
from maml_cli.reporting.fits_figure import fit_figure
from maml_cli.reporting.format import count
from maml_cli.runs.adapted import AdaptedModule
from maml_cli.runs.evaluation import bands
from maml_cli.runs.model import Model
from maml_cli.runs.trained import claim
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder

CURVE_POINTS = 201


class Noise(NamedTuple):
    """What the run's own test found of the noise around predictions, as a network sees outputs."""

    variance: float
    shots: int
    """Support points of the tasks that it was fitted on."""
    steps: int
    networks: int


def fit_points(
    folder: Path, experiment: Experiment, support: Path, query: Path | None, output_dir: Path
) -> Fit:
    """Adapt the run in `folder` to the points of `support` and predict those of `query`.

    Everything is written into `output_dir`. Raises UsageError, DataError, CheckpointError,
    DivergedError or StorageError.
    """
    model = Model(folder, experiment)
    columns = model.columns
    if columns is None:
        raise DataError(f"run={folder}: its inputs and outputs have no names")
    own = find_own_points(support, query, columns)
    noise = fitted_noise(folder)
    task = model.adapt(torch.from_numpy(own.support_x), torch.from_numpy(own.support_y))
    adapted = task.to_module()
    fit = _fit(adapted, columns, own.query_x, noise, truth=own.query_y)
    notes = [
        *score(fit),
        *_notes(model, adapted, own, noise=noise, fit=fit, columns=columns),
        *model.remarks,
    ]
    curve = None
    if len(columns.inputs) == 1:
        column, known = columns.inputs[0], np.concatenate([own.support_x, own.query_x])
        trained = None if column.constant else column.trained
        ends = [*known.ravel(), *(trained or ())]
        grid = np.linspace(min(ends), max(ends), CURVE_POINTS)[:, None]
        curve = fit_figure(
            _fit(adapted, columns, grid, noise, truth=None),
            support=(own.support_x, own.support_y),
            queries=None if own.query_y is None else (own.query_x, own.query_y),
            trained=trained,
        )
    else:
        notes.append(f"No picture: a curve has one input, this run has {len(columns.inputs)}.")
    if len(shown(fit)) < len(own.query_x):
        notes.append(f"The table has {len(shown(fit))} of {len(own.query_x)} points, the CSV all.")
    claim(output_dir)
    output = RunFolder(output_dir)
    text = "\n\n".join([f"# Predictions of {folder}", markdown(fit), *notes])
    write_atomically(output.predictions_csv, csv_text(fit))
    write_atomically(output.table, f"{text}\n\n`{experiment.command}`\n")
    if curve is not None:
        write_png(curve, output.curves)
    written = output.predictions_csv if curve is None else output.curves
    show_answers(terminal_table(fit), markdown(fit), notes, written)
    return fit


def fitted_noise(folder: Path) -> Noise | None:
    """The noise that the test at the end of a training has fitted; None if there was none.

    Raises CheckpointError if the results are damaged.
    """
    file = RunFolder(folder).results
    if not file.exists():
        return None
    try:
        results = read_results(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file}: cannot be read ({error}); put back a copy, without which nobody knows how "
            "wide the bands are"
        ) from error
    if results is None or results.test.calibration is None:
        return None
    test, calibration = results.test, results.test.calibration
    if calibration.parameter != "noise variance" or not math.isfinite(calibration.value):
        return None
    steps = max(test.ensemble.estimates)
    return Noise(calibration.value, results.protocol.shots, steps, test.ensemble_size)


def _fit(
    adapted: AdaptedModule,
    columns: Columns,
    x: Numbers,
    noise: Noise | None,
    *,
    truth: Numbers | None,
) -> Fit:
    answers = adapted.answers(torch.from_numpy(seen(x, columns.inputs)))
    ends = None if noise is None else bands(answers.samples, noise.variance)

    def in_units(outputs: Numbers) -> Numbers:
        return original(outputs, columns.outputs)

    return Fit(
        inputs=[column.name for column in columns.inputs],
        outputs=[column.name for column in columns.outputs],
        x=x,
        mean=in_units(answers.outputs[0].cpu().double().numpy()),
        samples=in_units(answers.samples[0].cpu().double().numpy()),
        bands=None if ends is None else in_units(ends[:, 0]),
        truth=truth,
    )


def _notes(
    model: Model,
    adapted: AdaptedModule,
    own: OwnPoints,
    *,
    noise: Noise | None,
    fit: Fit,
    columns: Columns,
) -> list[str]:
    """What the numbers are, and what their reader must know."""
    given = len(own.support_x)
    conditions = [
        f"{count(given, 'support point', 'support points')}",
        count(adapted.steps, "inner step", "inner steps"),
        f"the mean of {count(model.networks, 'epoch', 'epochs')}",
    ]
    if len(fit.samples) > 1:
        conditions.append(
            f"predictions are means of {len(fit.samples)} samples, spread is their standard "
            "deviation"
        )
    if noise is not None:
        deviations = ", ".join(
            f"{math.sqrt(noise.variance) * c.deviation:.4g} for {c.name}" for c in columns.outputs
        )
        conditions.append(f"bands: normal noise of the deviation {deviations}")
    return ["; ".join(conditions) + ".", *_noise_notes(noise, model, adapted, given), *own.remarks]


def _noise_notes(
    noise: Noise | None, model: Model, adapted: AdaptedModule, given: int
) -> list[str]:
    """Why there are no bands, or how this use differs from what the noise was fitted on."""
    if noise is None:
        return [
            "No bands: the run has no fitted noise in results.json. The test at the end of a "
            "training fits it: resume=DIR trains an unfinished run to its end. A finished run of a "
            "version that fitted none must be trained again; maml-eval makes no bands for it."
        ]
    fitted = {
        "support point": (noise.shots, given),
        "inner step": (noise.steps, adapted.steps),
        "epoch": (noise.networks, model.networks),
    }
    others = [
        f"{count(was, one, f'{one}s')} (here {now})"
        for one, (was, now) in fitted.items()
        if was != now
    ]
    if not others:
        return []
    return [
        f"The noise was fitted on tasks with {' and '.join(others)}: the bands may be too narrow "
        "or too wide."
    ]
