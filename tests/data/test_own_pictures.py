"""The one task that somebody's own pictures make."""

import numpy as np
import pytest
import torch
from PIL import Image

from maml_cli.data.own_pictures import OwnTask, find_own_pictures
from maml_cli.data.pictures import Recipe, standardised
from maml_cli.data.sampler import episode_keys

CPU = torch.device("cpu")


@pytest.fixture
def own(tmp_path):
    for name in ("support/cat/1.png", "support/dog/1.png", "query/1.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16), 7, np.uint8)).save(path)
    return find_own_pictures(tmp_path / "support", tmp_path / "query")


def test_its_key_is_that_of_the_first_test_episode_of_the_seed(own):
    form = standardised(Recipe(size=16, channels=1, fit="stretch"), [0.0], [1.0])
    for seed in (0, 5):
        task = OwnTask(own, form, CPU, train_classes=2, seed=seed)
        key = task.episodes("test", 3, 2).key
        assert key.dtype == torch.int64
        assert key.tolist() == episode_keys(seed, "test", 0, 1).tolist() * 2
