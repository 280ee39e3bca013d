"""The official MAML++ code in a user's own checkout, unchanged, with our settings and weights.

Antoniou, Edwards & Storkey 2019; github.com/AntreasAntoniou/HowToTrainYourMAMLPytorch.
"""

import contextlib
import io
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.experiment import Experiment
from maml_cli.core.types import Episode

Images = tuple[int, int, int]
CLIP = 10.0
"""Where the gradient of a data set of colour pictures is clamped."""


def differences(experiment: Experiment, image: Images) -> list[str]:
    """Settings that the code has no counterpart of, one phrase each.

    What changes the loss of the first batch is not looked for here: compare the losses.
    """
    train, evaluation = experiment.train, experiment.eval
    clip = CLIP if image[0] == 3 else None
    wanted = {
        "train.bn_stats": (train.bn_stats, "batch"),
        "eval.bn_stats": (evaluation.bn_stats, "batch"),
        "eval.inner_steps": (evaluation.inner_steps, None),
        "train.grad_clip": (train.grad_clip, clip),
        "train.grad_clip_norm": (train.grad_clip_norm, None),
        "train.halve_every": (train.halve_every, None),
        "train.task_pool": (train.task_pool, None),
    }
    return [
        f"{key}={found}: the official code has {theirs}"
        for key, (found, theirs) in wanted.items()
        if found != theirs
    ]


def official_system(
    path: Path, experiment: Experiment, image: Images, params: MetaParameters
) -> Any:
    """Its `MAMLFewShotClassifier`, from our weights. It takes the GPU if torch finds one."""
    sys.path.insert(0, str(path))
    from few_shot_learning_system import MAMLFewShotClassifier

    algo, train = experiment.algo, experiment.train
    settings = types.SimpleNamespace(
        batch_size=train.tasks_per_batch,
        use_cuda=False,
        seed=0,
        num_classes_per_set=experiment.run.ways,
        task_learning_rate=algo.inner_lr,
        number_of_training_steps_per_iter=algo.inner_steps,
        number_of_evaluation_steps_per_iter=algo.inner_steps,
        learnable_per_layer_per_step_inner_loop_learning_rate=algo.lslr,
        meta_learning_rate=train.outer_lr,
        min_learning_rate=train.min_outer_lr if algo.ca else train.outer_lr,
        total_epochs=train.epochs,
        enable_inner_loop_optimizable_bn_params=False,
        use_multi_step_loss_optimization=algo.msl,
        multi_step_loss_num_epochs=algo.msl_epochs,
        second_order=algo.order == 2,
        first_order_to_second_order_epoch=algo.da_epochs - 1 if algo.da else -1,
        per_step_bn_statistics=algo.bnwb,
        learnable_bn_gamma=True,
        learnable_bn_beta=True,
        norm_layer="batch_norm",
        cnn_num_filters=experiment.backbone.filters,
        num_stages=4,
        max_pooling=True,
        conv_padding=1,
        dataset_name="imagenet" if image[0] == 3 else "omniglot",
    )
    with contextlib.redirect_stdout(io.StringIO()):
        system = MAMLFewShotClassifier((2, *image), torch.device("cpu"), settings)
    ours = {_theirs(name): tensor for name, tensor in params.theta["model"].items()}
    state = system.classifier.state_dict()
    system.classifier.load_state_dict({**state, **{n: t.clone() for n, t in ours.items()}})
    return system


def train_step(system: Any, episodes: Episode, ways: int, epoch: int) -> float:
    """One outer iteration, Adam's step included; its loss."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        losses, _ = system.run_train_iter(_batch(episodes, ways), epoch=epoch)
    loss: float = losses["loss"].item()
    return loss


def validate(system: Any, episodes: Episode, ways: int) -> tuple[float, list[float]]:
    """The loss of the batch and each episode's accuracy, both after the last inner step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        losses, outputs = system.run_validation_iter(_batch(episodes, ways))
    found = np.stack(outputs).argmax(-1) == episodes.query_y.cpu().numpy()
    rates: list[float] = found.mean(-1).tolist()
    loss: float = losses["loss"].item()
    return loss, rates


def _batch(episodes: Episode, ways: int) -> list[NDArray[Any]]:
    """A batch in its order: `(tasks, ways, examples, ...)`."""
    fields = (episodes.support_x, episodes.query_x, episodes.support_y, episodes.query_y)
    return [field.unflatten(1, (ways, -1)).cpu().numpy() for field in fields]


def _theirs(name: str) -> str:
    """Our parameter's name in the official code."""
    parts = name.split(".")
    if parts[0] == "head":
        return f"layer_dict.linear.{'weights' if parts[1] == 'weight' else 'bias'}"
    kind = {"conv": "conv", "norm": "norm_layer"}[parts[2]]
    return f"layer_dict.conv{parts[1]}.{kind}.{parts[3]}"
