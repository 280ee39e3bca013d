"""torchvision is imported only where it is wanted, and then beside any build of torch."""

import subprocess
import sys
import textwrap

import pytest

from maml_cli.core.errors import DataError
from maml_cli.core.torchvision_guard import import_torchvision


def test_torchvision_can_be_imported_beside_this_torch():
    datasets = import_torchvision("torchvision.datasets")
    assert set(datasets.Omniglot.zips_md5) == {"images_background", "images_evaluation"}
    assert import_torchvision("torchvision.datasets") is datasets


def test_what_cannot_be_imported_is_a_data_error_with_the_way_out():
    with pytest.raises(DataError, match=r"cannot be imported beside torch .*one pip command"):
        import_torchvision("torchvision.no_such_module")


def test_no_data_set_needs_torchvision_to_read_what_is_there(full_size, tmp_path):
    script = f"""
        import sys
        sys.modules["torchvision"] = None  # an import of it fails
        import torch
        from maml_cli.core.settings import RunSettings
        from maml_cli.data.glyphs import Glyphs
        from maml_cli.data.omniglot import Omniglot
        from maml_cli.data.sinusoid import Sinusoid
        run = RunSettings(
            ways=1, train_ways=None, shots=1, train_shots=None, queries=1, train_queries=None,
            seed=0, device="cpu", engine="auto", data_dir={str(full_size)!r},
            cache_dir={str(tmp_path)!r}, download=False, resume="auto", init_from=None,
            logger=None,
        )
        omniglot = Omniglot(
            name="omniglot", image_size=28, rotations="episode", rotate_test=False, invert=False
        )
        sinusoid = Sinusoid(
            name="sinusoid", max_phase=3.0, min_frequency=1.0, max_frequency=1.0, noise=0.0,
            relative_noise=False, noisy_queries=True, support_side="both", reveal=False,
        )
        for settings in (Glyphs(name="glyphs"), omniglot, sinusoid):
            print(len(settings.load(run, torch.device("cpu")).episodes("train", 0, 2).query_x))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["2", "2", "2"]
