r"""Trains the official MAML++ code and ours alike, and draws both validation curves.

    python scripts/compare_official.py --htym PATH --out outputs/official \
        experiment=mamlpp_omniglot_5way_1shot_official_code train.epochs=20 \
        train.iterations_per_epoch=100

PATH is your own checkout of AntreasAntoniou/HowToTrainYourMAMLPytorch. The other arguments are
those of maml-train. Both sides start from the same weights, meet the same training episodes in the
same order, and are validated on the same episodes after each epoch. Ours is trained by maml-train;
then theirs by its own `run_train_iter` and `run_validation_iter`. Nothing is trained unless both
find the same loss of the first batch. Seconds are those of training, without validation; theirs are
without the drawing of episodes, which is ours.

Writes comparison.json and comparison.png. The same command goes on where it was interrupted.
"""

import argparse
import json
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from official_code import Images, differences, official_system, train_step, validate
from tabulate import tabulate

import maml_cli
from maml_cli.algos.maml import MAML
from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.core.errors import UserError
from maml_cli.core.experiment import Experiment
from maml_cli.core.stats import estimate
from maml_cli.core.types import Progress, TaskSource
from maml_cli.report.collect import collect
from maml_cli.report.history import history
from maml_cli.report.run_files import read_records
from maml_cli.reporting.results import environment
from maml_cli.runs.assembly import assemble
from maml_cli.runs.devices import choose_device
from maml_cli.storage.files import write_atomically
from maml_cli.storage.resume import require_same_config
from maml_cli.storage.run_folder import RunFolder

LOSS_TOLERANCE = 1e-3
"""Relative, of the first batch: rounding alone."""


@dataclass(kw_only=True)
class Curve:
    """Validation after each epoch."""

    iterations: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    ci95: list[float] = field(default_factory=list)


class Official:
    """The training of the official code, which a file keeps after each epoch."""

    def __init__(self, path: Path, experiment: Experiment, out: Path) -> None:
        self._experiment, self._ways = experiment, experiment.run.ways
        choose_device(experiment.run.device)  # the same precision on a GPU
        cpu = torch.device("cpu")
        self._source: TaskSource = experiment.dataset.load(experiment.run, cpu)
        channels, height, width = self._source.input_shape
        image: Images = (channels, height, width)
        if problems := differences(experiment, image):
            raise SystemExit("\n".join(problems))
        self._parts = assemble(experiment, self._source, cpu)
        self._system = official_system(path, experiment, image, self._parts.fresh())
        self._file = out / "official.pt"
        self.curve = Curve()
        if self._file.exists():
            kept = torch.load(self._file, weights_only=True)
            require_same_config(kept["config"], experiment.resolved, self._file)
            self._system.load_state_dict(kept["network"])
            self._system.optimizer.load_state_dict(kept["optimizer"])
            self.curve = Curve(**kept["curve"])

    def require_same_loss(self) -> None:
        """Raise SystemExit unless both sides find the same loss of the first batch; trains."""
        train = self._experiment.train
        length = train.epochs * train.iterations_per_epoch
        first = Progress(iteration=0, epoch=0, iterations=length, epochs=train.epochs)
        batch = self._source.episodes("train", 0, train.tasks_per_batch)
        ours = self._parts.engine.meta_gradient(self._parts.fresh(), batch, first).loss.item()
        theirs = train_step(self._system, batch, self._ways, 0)
        if abs(ours - theirs) > LOSS_TOLERANCE * abs(ours):
            raise SystemExit(
                f"the first batch has the loss {ours:.6g} here and {theirs:.6g} there: the "
                "official code has no counterpart of a setting"
            )

    def epoch(self) -> None:
        """Train for one epoch and validate."""
        train, done = self._experiment.train, len(self.curve.iterations)
        seconds = self.curve.seconds[-1] if done else 0.0
        start = done * train.iterations_per_epoch
        for iteration in range(start, start + train.iterations_per_epoch):
            tasks = train.tasks_per_batch
            batch = self._source.episodes("train", iteration * tasks, tasks)
            began = time.perf_counter()
            train_step(self._system, batch, self._ways, done)
            seconds += time.perf_counter() - began
        found = estimate(self._validation())
        self.curve.iterations.append(start + train.iterations_per_epoch)
        self.curve.seconds.append(seconds)
        self.curve.accuracy.append(found.mean)
        self.curve.ci95.append(found.ci95)
        self._save()

    def _validation(self) -> list[float]:
        episodes, tasks = self._experiment.eval.val_episodes, self._experiment.train.tasks_per_batch
        return [
            rate
            for start in range(0, episodes, tasks)
            for rate in validate(
                self._system,
                self._source.episodes("val", start, min(tasks, episodes - start)),
                self._ways,
            )[1]
        ]

    def _save(self) -> None:
        partial = self._file.with_suffix(".partial")
        content = {
            "config": self._experiment.resolved,
            "network": self._system.state_dict(),
            "optimizer": self._system.optimizer.state_dict(),
            "curve": asdict(self.curve),
        }
        torch.save(content, partial)
        partial.replace(self._file)


def our_curve(folder: Path) -> Curve:
    """What maml-train wrote after each epoch."""
    [run] = collect([folder / RunFolder(folder).results.name]).runs
    found = history(run)
    if found is None:
        raise SystemExit(f"{folder}: has no metrics.jsonl")
    records = [r for r in read_records(RunFolder(folder)) if r.text("kind") == "val"]
    return Curve(
        iterations=list(found.iterations),
        seconds=list(found.seconds),
        accuracy=list(found.metric),
        ci95=[record.array("val")[-1].number("ci95") for record in records],
    )


def figure(curves: dict[str, Curve], title: str) -> Figure:
    """Both curves with their 95 % bands, over iterations and over seconds of training."""
    chart = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    chart.suptitle(title, fontsize=10)
    for axes, x, label in zip(
        chart.subplots(1, 2, sharey=True),
        ("iterations", "seconds"),
        ("iterations", "seconds of training"),
        strict=True,
    ):
        looks = ("#0072B2", "-"), ("#D55E00", "--")  # dashed: both may be the same
        for (name, curve), (colour, line) in zip(curves.items(), looks, strict=True):
            places, middle = getattr(curve, x), [100 * value for value in curve.accuracy]
            low, high = (
                [100 * (a + s * c) for a, c in zip(curve.accuracy, curve.ci95, strict=True)]
                for s in (-1, 1)
            )
            axes.plot(places, middle, line, marker="o", markersize=3, color=colour, label=name)
            axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    chart.axes[0].set_ylabel("validation accuracy in %")
    chart.axes[0].legend(frameon=False, loc="lower right")
    return chart


def write(out: Path, curves: dict[str, Curve], told: dict[str, Any], title: str) -> None:
    """The numbers and the picture, as far as both have come."""
    content = {**told, **{name: asdict(curve) for name, curve in curves.items()}}
    write_atomically(out / "comparison.json", json.dumps(content, indent=1) + "\n")
    figure(curves, title).savefig(out / "comparison.png")


def table(curves: dict[str, Curve]) -> str:
    """A row per epoch that both have."""
    rows = []
    for ours, theirs in zip(*(_points(curve) for curve in curves.values()), strict=False):
        meet = abs(ours[2] - theirs[2]) <= ours[3] + theirs[3]
        shown = [f"{100 * p[2]:.1f} ± {100 * p[3]:.1f} %, {p[1]:.0f} s" for p in (ours, theirs)]
        rows.append([f"{ours[0]:,}", *shown, "yes" if meet else "no"])
    return tabulate(rows, ["iterations", *curves, "intervals meet"], tablefmt="github")


def _points(curve: Curve) -> list[tuple[int, float, float, float]]:
    return list(zip(curve.iterations, curve.seconds, curve.accuracy, curve.ci95, strict=True))


def main() -> None:
    """Check, train ours, train theirs, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--htym", type=Path, required=True, help="a checkout of the official code")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("words", nargs="+", metavar="KEY=VALUE", help="as for maml-train")
    options = parser.parse_args()
    try:
        compare(options.htym, options.out, options.words)
    except UserError as error:
        raise SystemExit("\n".join(error.messages)) from None


def compare(path: Path, out: Path, words: list[str]) -> None:
    """The whole comparison in the folder; raises UserError or SystemExit."""
    if not (path / "few_shot_learning_system.py").is_file():
        raise SystemExit(f"--htym {path}: holds no few_shot_learning_system.py")
    experiment = build(Composer().compose(words), command="")
    if not isinstance(experiment.algo, MAML):
        raise SystemExit(
            f"algo={experiment.algo.name}: the official code has MAML and MAML++ alone"
        )
    if torch.cuda.is_available() and experiment.run.device == "cpu":
        raise SystemExit(
            "device=cpu: the official code takes a GPU if torch finds one; hide it with "
            "CUDA_VISIBLE_DEVICES="
        )
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "official.pt").exists():
        Official(path, experiment, out).require_same_loss()
    results = maml_cli.train([*words, f"hydra.run.dir={out / 'ours'}"])
    theirs = Official(path, experiment, out)
    curves = {"maml-train": our_curve(out / "ours"), "official code": theirs.curve}
    told = {
        "command": results["command"],
        "official_commit": _commit(path),
        "validation_episodes": experiment.eval.val_episodes,
        "engine": results["engine"],
        **asdict(environment(device=results["device"], engine=results["engine"])),
    }
    title = f"{experiment.algo.name} on {experiment.dataset.name}, {experiment.run.ways}-way "
    title += f"{experiment.run.shots}-shot, {experiment.train.tasks_per_batch} tasks an iteration"
    while len(theirs.curve.iterations) < experiment.train.epochs:
        theirs.epoch()
        write(out, curves, told, title)
        print(f"official code: {table(curves).splitlines()[-1]}", flush=True)
    write(out, curves, told, title)
    print(table(curves))


def _commit(path: Path) -> str | None:
    """The checkout's commit, if git knows it."""
    asked = ["git", "-C", str(path), "rev-parse", "HEAD"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


if __name__ == "__main__":
    main()
