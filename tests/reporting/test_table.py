from dataclasses import replace
from math import nan
from typing import get_args

from results import BANDS, CALIBRATED, OMNIGLOT, changed, course

from maml_cli.core.results import RunResults
from maml_cli.core.settings import BatchNormStats
from maml_cli.reporting.table import TableFile, markdown, tables


def test_a_classifier_has_one_row_and_its_accuracy_per_inner_step(results):
    final, per_step = tables(results)
    assert final.header == (
        "algo",
        "dataset",
        "ways",
        "shots",
        "test accuracy, ensemble of 5",
        "test accuracy, single best",
    )
    assert final.rows == [("mamlpp", "omniglot", "5", "1", "97.65 ± 0.31 %", "96.00 ± 0.50 %")]
    assert per_step.rows == [("0", "20.00 ± 0.10 %"), ("2", "97.65 ± 0.31 %")]


def test_a_regression_has_a_row_per_inner_step(regression_results):
    (table,) = tables(regression_results)
    assert table.header == ("inner steps", "test mse, ensemble of 1", "test mse, single best")
    assert table.rows == [
        ("0", "3.50 ± 0.25", "3.75 ± 0.50"),
        ("1", "0.0432 ± 0.0012", "12346 ± 678"),
    ]


def test_the_caption_says_what_the_numbers_are(results, regression_results):
    assert (
        "Mean over 600 test episodes ± its 95 % Student-t interval over episodes; "
        "1 shot and 2 queries per class; 2 inner steps; "
        "batch norm by the statistics of the batch at hand; "
        "the ensemble averages the outputs of 5 epochs; 2,000 iterations of 8 tasks; seed 7."
    ) in markdown(results)
    assert (
        "Mean over 600 test episodes ± its 95 % Student-t interval over episodes; "
        "10 shots and 2 queries per task; "
        "the ensemble averages the outputs of 1 epoch; 2,000 iterations of 8 tasks; seed 7."
    ) in markdown(regression_results)


def test_the_caption_says_where_training_differs(results):
    assert "; 1 shot and 2 queries per class; in training 10 shots and 15 queries; " in markdown(
        changed(results, train_shots=10, train_queries=15)
    )
    assert "; in training 20 ways; " in markdown(changed(results, train_ways=20))
    assert "; in training 20 ways, 3 shots and 2 queries; " in markdown(
        changed(results, train_ways=20, train_shots=3)
    )


def test_the_caption_says_that_a_test_takes_other_inner_steps(results, regression_results):
    assert "; 2 inner steps in the test, 1 by the algorithm's settings; " in markdown(
        changed(results, own_steps=1)
    )
    assert "inner steps" not in markdown(regression_results).partition("Mean over")[2]
    assert "; 1 inner step in the test, 5 by the algorithm's settings; " in markdown(
        changed(regression_results, own_steps=5)
    )


def test_the_caption_says_that_training_tasks_were_few(results):
    assert "fixed" not in markdown(results)
    assert "; training draws from 200,000 fixed tasks only; " in markdown(
        changed(results, task_pool=200_000)
    )
    assert "; training draws from 1 fixed task only; " in markdown(changed(results, task_pool=1))


def test_every_kind_of_batch_norm_statistics_has_words(results):
    texts = {markdown(changed(results, bn_stats=stats)) for stats in get_args(BatchNormStats)}
    assert len(texts) == len(get_args(BatchNormStats)) == 4


def test_remarks_are_marked_in_the_table_and_told_below(results, regression_results):
    for kind in (results, regression_results):
        assert "†" not in markdown(kind)
        text = markdown(changed(kind, remarks=("half of the data",)))
        assert ", single best † " in text
        assert text.endswith("\n\n† half of the data\n")


def test_probabilities_have_a_row_for_each_reading(results):
    table = tables(changed(results, calibration=CALIBRATED))[-1]
    assert table.header == ("probabilities", "NLL ↓", "Brier ↓", "ECE ↓", "by chance")
    assert table.rows == [
        ("as trained", "0.250 ± 0.013", "0.125 ± 0.010", "2.00 ± 0.50 %", "1.25 %"),
        ("temperature 1.25", "0.200 ± 0.010", "0.125 ± 0.010", "2.00 ± 0.50 %", "1.25 %"),
    ]


def test_bands_have_their_coverage_and_width(regression_results):
    table = tables(changed(regression_results, calibration=BANDS))[-1]
    assert table.header[2:] == ("in the 50 % band", "in the 90 % band", "width of the 90 % band")
    assert table.rows == [
        ("noise deviation 0.5", "1.50 ± 0.25", "50.00 ± 2.00 %", "87.50 ± 1.00 %", "1.645 ± 0")
    ]


def test_the_caption_says_what_was_fitted_and_averaged(results):
    text = markdown(changed(results, calibration=CALIBRATED))
    assert "; predictions are means of 10 samples; " in text
    assert "the temperature was fitted on 500 validation episodes; ECE: " in text
    again = markdown(changed(results, calibration=CALIBRATED, split="val"))
    assert "was fitted on the same 500 validation episodes; " in again
    for value, said in ((1e-6, "lies at the limit"), (nan, "which failed")):
        assert said in markdown(changed(results, calibration=replace(CALIBRATED, value=value)))


def test_the_file_is_github_markdown_with_the_command(info, results):
    sink = TableFile()
    sink.start(info, None)
    sink.finish(results, None)
    lines = (info.output_dir / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# mamlpp on omniglot, 5-way 1-shot, seed 7"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:5]]
    assert cells[0][:4] == ["algo", "dataset", "ways", "shots"]
    assert set("".join(cells[1])) == {"-"}
    assert cells[2][:5] == ["mamlpp", "omniglot", "5", "1", "97.65 ± 0.31 %"]
    assert lines[-1] == "`maml-train algo=mamlpp dataset=omniglot`"


def test_what_is_not_finite_is_counted_in_a_remark():
    """2 of 600 episodes, and 3 iterations that were passed over."""
    results = changed(OMNIGLOT, not_finite=2, iterations_skipped=3)
    text = markdown(results)
    assert "† outputs are not finite in 2 of 600 test episodes; they count as wrong" in text
    assert "† training passed over 3 iterations whose loss or gradient was not finite" in text
    assert "ensemble of 5 †" in text
    assert RunResults.from_json(results.to_json()) == results


def test_a_course_of_fewer_episodes_is_told_to_be_of_the_best_network(results):
    of_best = course({0: (0.25, 0.125), 2: (0.75, 0.25)}, episodes=100)
    told = markdown(changed(results, ensemble=course({2: (0.9765, 0.0031)}), course=of_best))
    assert "| inner steps   | test accuracy, single best   |" in told
    assert "| 0             | 25.00 ± 12.50 %" in told
    assert "2 inner steps; accuracy after each of them over the first 100 episodes;" in told


def test_a_course_of_one_step_has_no_table(results):
    assert "inner steps  " not in markdown(changed(results, ensemble=course({0: (0.9, 0.01)})))
