"""Pictures from elsewhere are shown to a network as those of its data set are."""

import io

import numpy as np
import pytest
import torch
from picture_trees import png, write_files
from PIL import Image

from maml_cli.data.files import ZipFiles
from maml_cli.data.glyphs import Glyphs
from maml_cli.data.image_folder import ImageFolder
from maml_cli.data.inventory import ImageDataset
from maml_cli.data.mini_imagenet import MiniImageNet
from maml_cli.data.omniglot import Omniglot
from maml_cli.data.pictures import PictureForm

OMNIGLOT = {"name": "omniglot", "image_size": 28, "rotations": "episode", "rotate_test": False}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def seen(form: PictureForm, image: Image.Image) -> np.ndarray:
    """What the network sees of a picture."""
    pixels = form.decode(image, None)
    assert pixels.shape == form.shape
    scale, shift = (np.reshape(values, (-1, 1, 1)) for values in (form.scale, form.shift))
    return scale * pixels + shift


def sketch(side: int) -> Image.Image:
    """A black square in the upper left of a white picture, a seventh of its side: one bit each."""
    pixels = np.ones((side, side), bool)
    pixels[: side // 7, : side // 7] = False
    return Image.fromarray(pixels)


@pytest.mark.parametrize("side", [105, 28, 420, 700])
@pytest.mark.parametrize("mode", ["1", "L", "RGBA"])
def test_omniglot_sees_drawings_of_any_size(side, mode):
    picture = sketch(side).convert(mode)
    strokes = np.zeros((28, 28), bool)
    strokes[:4, :4] = True
    plain, inverted = (Omniglot(**OMNIGLOT, invert=i).picture_form() for i in (False, True))
    np.testing.assert_array_equal(seen(plain, picture)[0] < 0.5, strokes)
    np.testing.assert_array_equal(seen(inverted, picture)[0] > 0.5, strokes)
    if side <= 105:  # what the data set itself has is strictly black and white
        np.testing.assert_array_equal(seen(plain, picture)[0], ~strokes)


def test_omniglot_sees_its_own_drawings_as_it_loads_them(full_size, full_size_run):
    dataset = Omniglot(**OMNIGLOT, invert=False)
    archive = ZipFiles(full_size / "omniglot" / "images_evaluation.zip")
    tasks = dataset.load(full_size_run(), torch.device("cpu"))
    loaded = {t.numpy().tobytes() for s in ("train", "val", "test") for t in tasks.pools[s].images}
    for name in archive.names[::500]:
        picture = opened(archive.read(name))
        assert dataset.picture_form().decode(picture, None).tobytes() in loaded


def test_glyphs_are_dark_on_white_outside_and_light_on_black_inside():
    form = Glyphs(name="glyphs").picture_form()
    strokes = np.zeros((28, 28))
    strokes[:4, :4] = 1
    np.testing.assert_array_equal(seen(form, sketch(28))[0], strokes)


def test_mini_imagenet_is_standardised_by_channel():
    form = MiniImageNet(
        name="mini", image_size=84, mean=MEAN, std=STD, augment=None, allow_incomplete=False
    ).picture_form()
    for size in ((84, 84), (84, 200)):
        red = seen(form, opened(png((255, 0, 51), size=size)))
        expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
        np.testing.assert_allclose(red[:, 40, 40], expected, rtol=1e-6)


@pytest.mark.parametrize(("channels", "colours"), [(3, [192, 51, 255]), (1, [116])])
def test_an_image_folder_shows_others_as_its_own(tmp_path, run_settings, channels, colours):
    """The grey of the colour is (299 * 192 + 587 * 51 + 114 * 255) / 1000 = 116."""
    expected = [(c / 255 - 0.5) / 0.25 for c in colours]
    content = png((192, 51, 255), size=(40, 30))
    write_files(tmp_path / "own", {f"c{c}/{i}.png": content for c in range(15) for i in range(3)})
    dataset = ImageFolder(
        name="own",
        path=str(tmp_path / "own"),
        image_size=16,
        channels=channels,
        fit="crop",
        mean=0.5,
        std=0.25,
        augment=None,
        val_fraction=0.34,
        test_fraction=0.33,
        split_seed=0,
        range=None,
        class_depth=None,
        min_images=1,
        skip_broken=False,
    )
    tasks = dataset.load(run_settings(ways=5, shots=1, queries=2), torch.device("cpu"))
    loaded = tasks.episodes("test", 0, 1).query_x[0, 0]
    shown = seen(dataset.picture_form(), opened(content))
    for values in (loaded.numpy(), shown):
        np.testing.assert_allclose(values, np.reshape(expected, (-1, 1, 1)) + 0 * values, rtol=1e-5)


def test_every_data_set_of_images_can_show_others():
    assert isinstance(Glyphs(name="glyphs"), ImageDataset)
    assert isinstance(Omniglot(**OMNIGLOT, invert=False), ImageDataset)
