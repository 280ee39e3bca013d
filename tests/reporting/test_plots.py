import runpy
from pathlib import Path

import numpy as np

from maml_cli.reporting.plots import CurvesFile, curves_figure, side_by_side

ROOT = Path(__file__).parents[2]


def test_a_panel_per_task_shows_truth_support_and_fits(curves):
    figure = curves_figure(curves)
    first, second = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in first.lines}
    assert lines == {
        "truth": [[-1, 0], [0, 1], [1, 2]],
        "before adaptation": [[-1, 2], [0, 3], [1, 4]],
        "after 1 inner step": [[-1, 1], [0, 2], [1, 3]],
        "after 2 inner steps": [[-1, 0], [0, 1], [1, 2]],
        "support": [[0.5, 1.5]],
    }
    assert second.get_title() == "mse 4 → 0"  # 2 off everywhere, then exact
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == sorted(lines)


def test_one_inner_step_is_named_once(curves):
    figure = curves_figure(curves._replace(predictions=curves.predictions[1:]))
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["truth", "before adaptation", "after 1 inner step", "support"]


def test_panels_without_a_task_are_hidden(curves):
    three = curves._replace(
        x=np.zeros((3, 3)),
        truth=np.zeros((3, 3)),
        predictions=np.zeros((2, 3, 3)),
        support_x=np.zeros((3, 1)),
        support_y=np.zeros((3, 1)),
    )
    assert [panel.get_visible() for panel in curves_figure(three).axes] == [True] * 3 + [False]


def test_the_file_is_written_only_if_there_are_curves(info, regression, results, curves):
    for run, drawn in ((info, None), (regression, curves)):
        sink = CurvesFile()
        sink.start(run, None)
        sink.finish(results, drawn)
        assert (run.output_dir / "curves.png").exists() == (drawn is not None)


def test_bands_and_ten_samples_surround_the_last_fit(curves):
    samples = curves.truth + np.linspace(-1, 1, 12).reshape(12, 1, 1)
    bands = np.stack([curves.truth + shift for shift in (-0.9, -0.5, 0.5, 0.9)])
    bands[3, 0, 0] = curves.truth[0, 0] - 0.1
    figure = curves_figure(curves._replace(samples=samples, bands=bands))
    panel = figure.axes[0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"90 % band", "50 % band", "10 of 12 samples"} <= set(labels)
    thin = [line for line in panel.lines if line.get_linewidth() < 1]
    assert [line.get_ydata().tolist() for line in thin] == samples[:10, 0].tolist()
    assert panel.get_title().endswith(", 67 % in the 90 % band")


def test_learners_stand_beside_each_other(curves):
    samples = np.repeat(curves.samples, 3, 0)
    figure = side_by_side({"maml": curves, "bmaml": curves._replace(samples=samples)})
    assert len(figure.axes) == 4
    assert [panel.get_title().splitlines()[0] for panel in figure.axes[:2]] == ["maml", "bmaml"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "3 of 3 samples" in labels


def test_the_script_takes_settings_before_and_after_the_file(curves, tmp_path, monkeypatch):
    script = runpy.run_path(str(ROOT / "scripts" / "side_by_side.py"))
    asked = []

    def fits(run, changes):
        asked.append((run.name, changes))
        return "maml", curves

    monkeypatch.setitem(script["main"].__globals__, "fits", fits)
    out = tmp_path / "out.png"
    words = ["side_by_side.py", "a", "b", "--out", str(out), "dataset.support_side=left"]
    monkeypatch.setattr("sys.argv", words)
    script["main"]()
    assert asked == [("a", ["dataset.support_side=left"]), ("b", ["dataset.support_side=left"])]
    assert out.stat().st_size > 10_000
    assert script["told_apart"]([Path("a"), Path("b")], ["maml", "maml"]) == ["maml, a", "maml, b"]
