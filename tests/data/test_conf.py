"""The data sets' YAML files: what each brings with it, and that the command line goes before it."""

import pytest

from maml_cli.config.compose import Composer


@pytest.fixture(scope="module")
def compose():
    composer = Composer()
    return lambda *overrides: composer.compose(overrides)


def test_sinusoid_brings_the_setting_of_the_paper(compose):
    config = compose("dataset=sinusoid")
    assert (config.ways, config.shots, config.queries) == (1, 10, 10)
    assert config.backbone.hidden == [40, 40]
    train = config.train
    assert (train.tasks_per_batch, train.epochs * train.iterations_per_epoch) == (25, 70_000)
    assert train.outer_lr == 1e-3
    assert (config.eval.test_episodes, config.eval.inner_steps) == (600, 10)


def test_the_command_line_goes_before_the_data_set(compose):
    config = compose("dataset=sinusoid", "shots=5", "backbone=conv4", "train.epochs=3")
    assert (config.shots, config.queries) == (5, 10)
    assert config.backbone.name == "conv4"
    assert (config.train.epochs, config.train.tasks_per_batch) == (3, 25)


def test_omniglot_is_that_of_the_official_code(compose):
    config = compose("dataset=omniglot")
    assert config.queries == 1
    assert (config.dataset.rotations, config.dataset.invert) == ("episode", False)
    assert config.dataset.image_size == 28


def test_mini_imagenet_brings_the_configuration_of_the_official_code(compose):
    config = compose("algo=mamlpp", "dataset=mini_imagenet")
    assert (config.queries, config.backbone.filters) == (15, 48)
    assert (config.algo.inner_lr, config.algo.msl_epochs) == (0.01, 15)
    train = config.train
    assert (train.tasks_per_batch, train.grad_clip) == (2, 10.0)
    assert (train.epochs, train.iterations_per_epoch) == (100, 500)
    assert (train.outer_lr, train.min_outer_lr) == (1e-3, 1e-3)
    assert config.dataset.allow_incomplete is False
    for algo in ("maml", "fomaml"):
        assert compose(f"algo={algo}", "dataset=mini_imagenet").algo.inner_lr == 0.01


def test_the_command_line_goes_before_mini_imagenet(compose):
    config = compose("dataset=mini_imagenet", "backbone.filters=32", "train.grad_clip=null")
    assert compose("dataset=mini_imagenet", "backbone=conv4").backbone.filters == 64
    assert config.backbone.filters == 32
    assert config.train.grad_clip is None


def test_own_pictures_lie_in_the_data_folder_unless_said_otherwise(compose):
    assert compose("dataset=image_folder", "data_dir=here").dataset.path == "here/images"
    assert compose("dataset=image_folder", "dataset.path=there").dataset.path == "there"
