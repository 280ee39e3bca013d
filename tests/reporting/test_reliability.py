"""The picture of promised and observed frequencies."""

from results import BANDS, CALIBRATED

from maml_cli.reporting.reliability import reliability_figure


def test_classes_have_bars_in_their_bins_and_a_column_for_each_reading():
    above, scaled, counts, _ = reliability_figure(CALIBRATED).axes
    assert above.get_title().splitlines()[0] == "as trained"
    assert scaled.get_title().splitlines() == [
        "temperature 1.25",
        "ECE 2.00 ± 0.50 % (by chance 1.25 %)",
        "largest gap 25.0 %, NLL 0.200 ± 0.010",
    ]
    accuracy, sure, unsure = ([bar.get_height() for bar in bars] for bars in above.containers)
    assert (accuracy, sure, unsure) == ([0.75, 0.9], [0.0, 0.0], [0.25, 0.0])
    assert [bar.get_x() for bar in above.containers[0]] == [7 / 15, 13 / 15]
    assert [bar.get_height() for bar in counts.containers[0]] == [1 / 3, 2 / 3]


def test_curves_have_the_share_of_points_in_each_band():
    (panel,) = reliability_figure(BANDS).axes
    assert panel.get_title().splitlines()[1] == "87.50 ± 1.00 % in the 90 % band"
    assert panel.lines[0].get_xydata().tolist() == [[0.5, 0.625], [1.0, 1.0]]
