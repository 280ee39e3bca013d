import io

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from maml_cli.core.types import Episode
from maml_cli.reporting.images import episode_grid
from maml_cli.reporting.tensorboard import TensorBoard

KEY = torch.zeros(2, dtype=torch.int64)
PICTURES, LABELS = torch.rand(5, 1, 8, 8), torch.arange(5)
IMAGES = Episode(PICTURES, LABELS, torch.rand(5, 1, 8, 8), LABELS, LABELS, KEY)
POINTS = Episode(*(torch.zeros(10, 1) for _ in range(4)), torch.zeros(1, dtype=torch.int64), KEY)


def record(info, preview, *records, results):
    sink = TensorBoard()
    sink.start(info, preview)
    iteration, epoch = records
    sink.iteration(iteration)
    sink.epoch(epoch)
    sink.finish(results, None)
    sink.close()
    events = EventAccumulator(str(info.output_dir / "tensorboard"))
    events.Reload()
    return events


@pytest.fixture
def events(info, iteration_record, epoch_record, results):
    return record(info, IMAGES, iteration_record, epoch_record, results=results)


def test_every_scalar_has_its_name_value_and_iteration(events):
    found = {
        tag: (scalar.step, scalar.value)
        for tag in events.Tags()["scalars"]
        for scalar in events.Scalars(tag)
    }
    assert found == {
        tag: (step, pytest.approx(value))
        for tag, (step, value) in {
            "train/loss": (10, 0.5),
            "train/accuracy": (10, 0.875),
            "train/query_loss/step_1": (10, 0.75),
            "train/query_loss/step_2": (10, 0.25),
            "train/accuracy/step_1": (10, 0.5),
            "train/accuracy/step_2": (10, 0.875),
            "train/outer_lr": (10, 0.001),
            "train/iterations_per_second": (10, 4.0),
            "phase/order": (10, 2.0),
            "val/accuracy": (10, 0.9765),
            "val/accuracy_ci95": (10, 0.0031),
            "val/accuracy/step_0": (10, 0.2),
            "val/accuracy/step_1": (10, 0.625),
            "val/accuracy/step_2": (10, 0.9765),
            "inner_rates/head.weight/step_1": (10, 0.25),
            "inner_rates/head.weight/step_2": (10, -0.125),
            "step_weights/step_1": (10, 0.375),
            "step_weights/step_2": (10, 0.625),
            "test/accuracy": (2000, 0.9765),
            "test/accuracy_ci95": (2000, 0.0031),
            "test/accuracy_single": (2000, 0.96),
            "test/accuracy_single_ci95": (2000, 0.005),
        }.items()
    }


def test_the_hyperparameters_and_the_final_metric_are_in_the_run_itself(info, events):
    (start,) = (
        HParamsPluginData.FromString(content).session_start_info.hparams
        for tag, content in events.PluginTagToContent("hparams").items()
        if tag.endswith("session_start_info")
    )
    assert start["algo.msl"].string_value == "True"
    assert start["train.outer_lr"].number_value == 0.001
    assert start["algo"].string_value == "mamlpp"
    assert not [path for path in (info.output_dir / "tensorboard").iterdir() if path.is_dir()]


def test_the_first_episode_is_shown(events):
    (image,) = events.Images("episode/support_above_queries")
    _, height, width = episode_grid(IMAGES).shape
    assert image.step == 0
    assert Image.open(io.BytesIO(image.encoded_image_string)).size == (width, height)


def test_a_regression_shows_its_picture_and_its_last_step(
    regression, iteration_record, epoch_record, regression_results
):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).save(regression.output_dir / "curves.png")
    events = record(regression, POINTS, iteration_record, epoch_record, results=regression_results)
    assert events.Tags()["images"] == ["curves"]
    (shown,) = events.Images("curves")
    assert shown.step == regression_results.iterations
    found = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)))
    np.testing.assert_array_equal(found, pixels)
    (final,) = events.Scalars("test/mse")
    assert final.value == pytest.approx(0.04321)
