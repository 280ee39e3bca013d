"""Prints how long the validation of each preset takes, as a share of the training between two.

    python scripts/validation_share.py [NAME ...]

NAME is an option of `experiment`; without any, all presets of pictures are timed. Episodes are
random pictures of the right number and size. At most two tasks of a batch are timed, and one
validation episode three times, so the share is an estimate.
"""

import argparse
import time
from collections.abc import Callable

import torch

from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.core.objective import CLASSIFICATION
from maml_cli.core.types import Episode, Evaluation, Progress
from maml_cli.data.inventory import ImageDataset
from maml_cli.engines.choice import choose_engine
from maml_cli.engines.per_task import lean_loop
from maml_cli.engines.vmap import Vmap
from maml_cli.testing.problems import Source

LOOKS = 3


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The mean of a few, after one that does not count."""
    work()
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times


def random_episodes(
    shape: tuple[int, ...], tasks: int, ways: int, shots: int, queries: int
) -> Episode:
    """Pictures without any meaning."""
    generator = torch.Generator().manual_seed(0)

    def half(per_class: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(ways).repeat_interleave(per_class)
        return torch.rand((tasks, ways * per_class, *shape), generator=generator), labels.expand(
            tasks, -1
        )

    classes = torch.arange(ways).expand(tasks, -1)
    return Episode(*half(shots), *half(queries), classes, torch.arange(2 * tasks).view(tasks, 2))


def share(name: str) -> str | None:
    """The line of a preset; None if it is not about pictures."""
    experiment = build(Composer().compose([f"experiment={name}"]), command="")
    if not isinstance(experiment.dataset, ImageDataset):
        return None
    run, train, settings = experiment.run, experiment.train, experiment.eval
    shape = experiment.dataset.picture_form().shape
    source = Source(
        input_shape=shape,
        output_size=run.ways,
        train_classes=max(64, run.ways_in("train")),
        objective=CLASSIFICATION,
    )
    network = experiment.backbone.build(shape)
    algorithm = experiment.algo.build(network, source, train)
    engine_name = choose_engine("auto", torch.device("cpu"), convolutional=network.convolutional)
    engine = Vmap(algorithm) if engine_name == "graph" else lean_loop(algorithm)
    params = algorithm.init(0)
    tasks = min(2, train.tasks_per_batch)
    sizes = run.ways_in("train"), run.shots_in("train"), run.queries_in("train")
    batch = random_episodes(shape, tasks, *sizes)
    total = train.epochs * train.iterations_per_epoch
    late = Progress(
        iteration=total - 1, epoch=train.epochs - 1, iterations=total, epochs=train.epochs
    )
    training = seconds(lambda: engine.meta_gradient(params, batch, late))
    training *= train.iterations_per_epoch * train.tasks_per_batch / tasks
    steps = algorithm.steps if settings.inner_steps is None else settings.inner_steps
    one = random_episodes(shape, 1, run.ways, run.shots, run.queries)
    evaluation = Evaluation((steps,), settings.bn_stats)
    looked = seconds(lambda: engine.predict(params, one, evaluation), LOOKS)
    part = settings.val_episodes * looked / training
    return f"{name}: {part:.1%} ({settings.val_episodes} episodes of {looked:.3f} s)"


def main() -> None:
    """Print a line for each preset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="presets; none: all")
    for name in parser.parse_args().names or Composer().options("experiment"):
        if name != "null" and (line := share(name)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
