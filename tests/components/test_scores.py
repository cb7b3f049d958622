"""The probe table and chart say what was measured, with its uncertainty."""

from dataclasses import dataclass

import pytest

from components.runs.results import measured, shown
from components.runs.score_chart import score_chart
from components.runs.scores import reading_sentence, score_table, verdict_of
from merge_core.jobs import Job

COLOURS = {"base": "--tb-base", "shoes": "--tb-m0", "merge": "--tb-accent"}


@dataclass(frozen=True)
class Score:
    model: str
    probe: str
    score: float
    low: float
    high: float
    n: int = 120
    metric: str = "accuracy"


SCORES = [
    Score("base", "shoes", 0.71, 0.62, 0.78),
    Score("base", "digits", 0.915, 0.85, 0.95, n=100),
    Score("shoes", "shoes", 0.80, 0.72, 0.86),
    Score("shoes", "digits", 0.5, 0.41, 0.59, n=100),
    Score("merge", "shoes", 0.79, 0.71, 0.85),
]


def test_table_has_a_row_per_model_and_a_column_per_probe_with_its_items():
    table = score_table(SCORES, COLOURS, "merge")
    assert [c["name"] for c in table["columns"]] == ["shoes", "digits", "mean"]
    assert [c["note"] for c in table["columns"]] == ["n = 120", "n = 100", ""]
    assert (table["metric"], table["items"]) == ("accuracy, %", "")
    assert [r["name"] for r in table["rows"]] == ["base", "shoes", "merge"]
    assert table["rows"][0]["cells"][1] == {"score": "91.5", "interval": "85–95"}


def test_only_the_merge_is_marked_as_such():
    assert [r["merge"] for r in score_table(SCORES, COLOURS, "merge")["rows"]] == [False, False, True]


def test_a_probe_that_was_not_run_on_a_model_shows_a_dash():
    assert score_table(SCORES, COLOURS, "merge")["rows"][2]["cells"][1] == {"score": "–", "interval": ""}


def test_the_mean_is_of_accuracies_that_are_all_there():
    rows = score_table(SCORES, COLOURS, "merge")["rows"]
    # Half of the base's widths: 8 and 5 points; of a mean of two: sqrt(8² + 5²) / 2.
    assert rows[0]["cells"][2] == {"score": "81.2", "interval": "77–86"}
    assert rows[2]["cells"][2] == {"score": "–", "interval": ""}
    alone = score_table([s for s in SCORES if s.probe == "shoes"], COLOURS, "merge")
    assert [c["name"] for c in alone["columns"]] == ["shoes"]


PROSE = [
    Score("base", "novels", 1.8342, 1.7851, 1.8833, 70, "bits per byte"),
    Score("merge", "novels", 2.1, 2.05, 2.15, 70, "bits per byte"),
]
CHOICES = [
    Score("base", "skies", 0.5, 0.4, 0.6, 90),
    Score("base", "skies", 0.6, 0.5, 0.7, 90, "accuracy per byte"),
]


def test_bits_per_byte_are_no_percentage_and_not_in_the_mean():
    table = score_table([*SCORES, *PROSE], COLOURS, "merge")
    novels = table["columns"][2]
    assert novels == {"name": "novels", "note": "bits per byte, n = 70"}
    assert table["rows"][0]["cells"][2] == {"score": "1.834", "interval": "1.79–1.88"}
    assert table["rows"][0]["cells"][3]["score"] == "81.2"
    alone = score_table(PROSE, COLOURS, "merge")
    assert (alone["metric"], len(alone["columns"])) == ("", 1)


def test_a_number_of_items_that_all_probes_share_is_said_once():
    table = score_table(PROSE, COLOURS, "merge")
    assert table["items"] == "n = 70"
    assert [c["note"] for c in table["columns"]] == ["bits per byte"]


def test_two_metrics_of_one_probe_are_two_columns_and_one_task():
    table = score_table([*CHOICES, SCORES[0]], COLOURS, "merge")
    assert [c["note"] for c in table["columns"]] == ["n = 90", "per byte, n = 90", "n = 120", ""]
    assert [c["score"] for c in table["rows"][0]["cells"]] == ["50.0", "60.0", "71.0", "60.5"]


def test_without_scores_there_is_no_table_and_no_sentence():
    assert score_table([], COLOURS, "merge") is None
    assert reading_sentence([]) == ""


def test_the_verdict_says_the_means_that_the_table_shows():
    scores = [*SCORES, Score("merge", "digits", 0.85, 0.8, 0.9, n=100)]
    said = verdict_of(scores, "merge", "base").sentence
    means = {row["name"]: row["cells"][2]["score"] for row in score_table(scores, COLOURS, "merge")["rows"]}
    assert f"0.8 points above the base ({means['merge']} against {means['base']})" in said
    assert f"the best fine-tune, shoes, by 17.0 points ({means['merge']} against {means['shoes']})" in said


def test_only_what_the_merge_was_measured_on_counts_in_the_verdict():
    said = verdict_of(SCORES, "merge", "base").sentence
    assert said.startswith("The merge is 8.0 points above the base (79.0 against 71.0) and 1.0 points below")


def test_without_accuracies_there_is_no_verdict():
    assert verdict_of(PROSE, "merge", "base").sentence == ""
    assert verdict_of([], "merge", "base").sentence == ""


def test_of_bits_per_byte_alone_it_is_said_that_less_is_better():
    assert reading_sentence(PROSE) == "Of bits per byte, less is better. Bars are 95 % intervals."
    assert "less is better" not in reading_sentence(SCORES)
    assert "less is better" in reading_sentence([*SCORES, *PROSE])


def test_the_verdict_stands_first_and_its_rule_among_the_notes(tmp_path):
    shares = {"base": 0.6, "parent": 0.7, "merge": 0.75}
    scores = [
        {"role": role, "model": f"acme/{role}", "probe": probe, "metric": "accuracy", "n": 100,
         "score": share, "low": share - 0.09, "high": share + 0.09}
        for role, share in shares.items() for probe in ("shoes", "digits")
    ]  # fmt: skip
    job = Job(id="1", owner="me", kind="merge", recipe="", state="done", result={"scores": scores})
    verdict, _, _, notes, *_ = shown(job)
    assert verdict.startswith(
        "On average the merge is clearly above the base by 15.0 points (75.0 against 60.0)"
    )
    assert verdict.endswith(
        "the best fine-tune, parent (75.0 against 70.0), which is too little to tell from luck."
    )
    assert "± 9.0 points against the base" in notes


def test_chart_draws_every_score_at_its_percentage_with_its_interval():
    figure = score_chart(SCORES, COLOURS, "merge")
    base = figure.data[0]
    assert list(base.x) == [71.0, 91.5]
    assert [round(v, 6) for v in base.error_x.array] == [7.0, 3.5]
    assert [round(v, 6) for v in base.error_x.arrayminus] == [9.0, 6.5]
    assert base.marker.color == "var(--tb-base)"


def test_bits_per_byte_have_an_axis_of_their_own_beneath():
    figure = score_chart([*SCORES, *PROSE], COLOURS, "merge")
    on = {trace.xaxis for trace in figure.data if max(trace.x) < 10}
    assert len(on) == 1
    bits = figure.layout[f"xaxis{on.pop()[1:]}"]
    assert "less is better" in bits.title.text
    assert bits.ticksuffix is None
    upper, lower = sorted([figure.layout.yaxis.domain, figure.layout.yaxis2.domain], reverse=True)
    assert 0 <= lower[0] < lower[1] <= upper[0] < upper[1] <= 1
    assert next(t for t in figure.data if max(t.x) < 10).yaxis == bits.anchor
    assert figure.layout[f"yaxis{bits.anchor[1:]}"].domain == lower
    base = next(t for t in figure.data if list(t.x) == [1.8342])
    assert base.error_x.array[0] == pytest.approx(0.0491)
    assert "bits per byte" in base.hovertemplate


def test_one_kind_of_score_needs_one_axis():
    for scores in (SCORES, PROSE):
        figure = score_chart(scores, COLOURS, "merge")
        assert {trace.xaxis for trace in figure.data} == {"x"}
        assert "xaxis2" not in figure.layout.to_plotly_json()


def test_names_of_any_length_leave_the_chart_readable():
    long = "models--somebody--" + "very-" * 30 + "long"
    figure = score_chart([Score(long, long, 0.5, 0.4, 0.6)], {long: "--tb-base"}, "merge")
    assert len(figure.data[0].name) <= 48
    assert len(figure.layout.yaxis.ticktext[0]) <= 16


def test_a_model_measured_by_itself_needs_no_role():
    score = {"model": "a/b/some-model", "probe": "shoes", "metric": "accuracy"}
    rows, colours = measured([{**score, "score": 0.5, "low": 0.4, "high": 0.6, "n": 100}])
    assert [row.model for row in rows] == ["some-model"]
    assert set(colours) == {"some-model"}


def test_no_two_models_of_a_probe_lie_on_the_same_line():
    figure = score_chart(SCORES, COLOURS, "merge")
    heights = [y for trace in figure.data for y in trace.y]
    assert len(set(heights)) == len(SCORES)


def test_a_probe_named_in_markup_is_shown_as_text():
    evil = [Score("<b>base</b>", '<a href="x">probe</a>', 0.5, 0.4, 0.6)]
    figure = score_chart(evil, {"<b>base</b>": "--tb-base"}, "merge")
    assert "<" not in str(figure.layout.yaxis.ticktext) + str(figure.data[0].name) + str(
        figure.data[0].customdata
    )
