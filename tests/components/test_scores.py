"""The probe table and chart say what was measured, with its uncertainty."""

from dataclasses import dataclass

from components.scores import luck_sentence, score_chart, score_table

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
    assert [c["name"] for c in table["columns"]] == ["shoes", "digits"]
    assert [c["note"] for c in table["columns"]] == ["n = 120", "n = 100"]
    assert [r["name"] for r in table["rows"]] == ["base", "shoes", "merge"]
    assert table["rows"][0]["cells"][1] == {"score": "91.5", "interval": "85–95"}


def test_only_the_merge_is_marked_as_such():
    assert [r["merge"] for r in score_table(SCORES, COLOURS, "merge")["rows"]] == [False, False, True]


def test_a_probe_that_was_not_run_on_a_model_shows_a_dash():
    assert score_table(SCORES, COLOURS, "merge")["rows"][2]["cells"][1] == {"score": "–", "interval": ""}


def test_without_scores_there_is_no_table_and_no_sentence():
    assert score_table([], COLOURS, "merge") is None
    assert luck_sentence([]) == ""


def test_the_sentence_speaks_of_the_smallest_probe():
    assert "100 to 120 items" in luck_sentence(SCORES)
    assert "about 9 points" in luck_sentence(SCORES)


def test_chart_draws_every_score_at_its_percentage_with_its_interval():
    figure = score_chart(SCORES, COLOURS, "merge")
    base = figure.data[0]
    assert list(base.x) == [71.0, 91.5]
    assert [round(v, 6) for v in base.error_x.array] == [7.0, 3.5]
    assert [round(v, 6) for v in base.error_x.arrayminus] == [9.0, 6.5]
    assert base.marker.color == "var(--tb-base)"


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
