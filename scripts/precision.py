"""How far a meta-gradient of lower precision is from the true one, along a training.

    python scripts/precision.py run=outputs/omniglot/mamlpp/NAME

Takes the best networks that the run has kept and, for each, the same training episodes, and
compares the meta-gradient in float32, and with convolutions and matrix products in bfloat16
(`torch.autocast`), to the one in float64: `|g - g64| / |g64|` and the cosine, over all of theta.
Seconds are those of one iteration.
"""

import sys
import time
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor

from maml_cli.config.trained import trained_experiment
from maml_cli.core.algorithm import MetaParameters, flat
from maml_cli.core.types import Episode, Progress
from maml_cli.engines.engine import Engine
from maml_cli.runs.assembly import assemble
from maml_cli.runs.trained import load_trained

BATCHES = 5


def in_type(params: MetaParameters, dtype: torch.dtype) -> MetaParameters:
    """The same values as numbers of a type."""
    theta, state = (
        {s: {n: t.detach().to(dtype) for n, t in tensors.items()} for s, tensors in part.items()}
        for part in (params.theta, params.state)
    )
    for tensor in flat(theta).values():
        tensor.requires_grad_()
    return MetaParameters(theta=theta, state=state)


def gradient(
    engine: Engine, params: MetaParameters, batch: Episode, progress: Progress
) -> tuple[Tensor, float]:
    """The meta-gradient as one vector, and the seconds it took."""
    started = time.perf_counter()
    found = flat(engine.meta_gradient(params, batch, progress).gradient)
    seconds = time.perf_counter() - started
    return torch.cat([g.detach().flatten().double() for g in found.values()]), seconds


def main() -> None:
    """Compare on every network of the run; print the table."""
    folder = Path(sys.argv[1].removeprefix("run="))
    experiment = trained_experiment(
        folder, ["engine=loop"], changeable=["engine"], others=[], command=""
    )
    device = torch.device("cpu")
    source = experiment.dataset.load(experiment.run, device)
    parts = assemble(experiment, source, device)
    epochs = experiment.train.epochs
    progress = Progress(iteration=0, epoch=epochs - 1, iterations=epochs, epochs=epochs)
    rows = []
    trained = load_trained(folder, experiment, source.objective, device)
    for network, params in enumerate([parts.fresh(), *trained.candidates]):
        for number in range(BATCHES):
            tasks = experiment.train.tasks_per_batch
            batch = source.episodes("train", number * tasks, tasks)
            wide = Episode(*(f.double() if f.is_floating_point() else f for f in batch))
            true, _ = gradient(parts.engine, in_type(params, torch.float64), wide, progress)
            single = in_type(params, torch.float32)
            for name, lower in (("float32", False), ("bfloat16", True)):
                with torch.autocast("cpu", torch.bfloat16, enabled=lower):
                    found, seconds = gradient(parts.engine, single, batch, progress)
                error = ((found - true).norm() / true.norm()).item()
                cosine = torch.cosine_similarity(found, true, dim=0).item()
                rows.append(
                    (
                        "untrained" if network == 0 else f"best {network}",
                        name,
                        error,
                        cosine,
                        seconds,
                    )
                )
    kinds = sorted({row[:2] for row in rows})
    table = []
    for kind in kinds:
        errors, cosines, seconds = zip(*(row[2:] for row in rows if row[:2] == kind), strict=True)
        table.append((*kind, min(errors), max(errors), min(cosines), sorted(seconds)[BATCHES // 2]))
    header = ("network", "precision", "least error", "largest error", "least cosine", "seconds")
    print(tabulate(table, header, tablefmt="github", floatfmt=".2g"))


if __name__ == "__main__":
    main()
