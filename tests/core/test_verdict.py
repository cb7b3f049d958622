"""The verdict on a merge says how far its mean is from others', and whether luck alone can give that."""

import pytest

from merge_core.card.verdict import Mean, Verdict, mean_of, verdict


def around(score: float, half: float) -> tuple[float, float, float]:
    return score, score - half, score + half


def by_probe(*scores: float, half: float = 0.06) -> dict[str, tuple[float, float, float]]:
    return {f"probe {number}": around(score, half) for number, score in enumerate(scores)}


def test_mean_is_as_uncertain_as_independent_probes_make_it() -> None:
    mean = mean_of([around(0.8, 0.08), around(0.6, 0.06)])
    assert (mean.value, mean.half) == (pytest.approx(0.7), pytest.approx(0.05))
    assert mean_of([around(0.5, 0.1)]) == Mean(0.5, pytest.approx(0.1))


def test_difference_within_its_interval_is_too_little_to_tell_from_luck() -> None:
    said = verdict(by_probe(0.792, 0.792), by_probe(0.772, 0.772), {"shoes": by_probe(0.786, 0.786)})
    assert said.sentence == (
        "On average the merge is 2.0 points above the base (79.2 against 77.2) and 0.6 points above the best "
        "fine-tune, shoes (79.2 against 78.6): both too little to tell from luck."
    )
    # ± 6 points on either of two probes: ± 6 / √2 of a mean, and √2 times as much of a difference of two means.
    assert said.rule.startswith("A difference of averages is clear where it is larger than its 95 % interval")
    assert "here ± 6.0 points against the base and ± 6.0 points against the best fine-tune;" in said.rule


def test_difference_beyond_its_interval_is_clear_either_way() -> None:
    said = verdict(
        by_probe(0.8, 0.7), by_probe(0.7, 0.6), {"shoes": by_probe(0.9, 0.9), "tops": by_probe(0.1, 0.9)}
    )
    assert said.sentence == (
        "On average the merge is clearly above the base by 10.0 points (75.0 against 65.0) and clearly below the best "
        "fine-tune, shoes, by 15.0 points (75.0 against 90.0)."
    )


def test_luck_is_said_of_the_comparison_that_it_may_explain() -> None:
    base, near = by_probe(0.6, 0.6), {"shoes": by_probe(0.79, 0.79)}
    assert verdict(by_probe(0.8, 0.8), base, near).sentence == (
        "On average the merge is clearly above the base by 20.0 points (80.0 against 60.0) and 1.0 points above the "
        "best fine-tune, shoes (80.0 against 79.0), which is too little to tell from luck."
    )
    assert ", which is too little to tell from luck, and clearly above" in (
        verdict(by_probe(0.8, 0.8), by_probe(0.79, 0.79), {"shoes": by_probe(0.6, 0.6)}).sentence
    )


def test_points_agree_with_the_means_as_they_are_shown() -> None:
    said = verdict(by_probe(0.79144), by_probe(0.77156), {}).sentence
    assert said == "The merge is 1.9 points above the base (79.1 against 77.2): too little to tell from luck."


def test_equal_means_are_level() -> None:
    assert verdict(by_probe(0.8), by_probe(0.8), {}).sentence == "The merge is level with the base (80.0)."


def test_only_models_with_all_of_the_merges_probes_are_compared() -> None:
    said = verdict(by_probe(0.8, 0.8), by_probe(0.7), {"shoes": by_probe(0.7, 0.7, 0.1)}, unmeasured=True)
    assert "the base" not in said.sentence + said.rule
    assert "the best fine-tune measured, shoes (80.0 against 70.0)" in said.sentence.replace(
        ", by 10.0 points", ""
    )


def test_without_anything_to_compare_there_is_no_verdict() -> None:
    assert verdict({}, by_probe(0.7), {}) == Verdict()
    assert verdict(by_probe(0.7), {}, {}) == Verdict()
