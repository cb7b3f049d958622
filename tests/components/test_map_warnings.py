"""What is said about models whose norms and angles are out of the ordinary, and that nothing is said otherwise."""

from __future__ import annotations

import math

from components.interference.model_warnings import model_warnings
from merge_core.interference import InterferenceReport, ModelNorm, PairAgreement


def warned(
    norms: list[float], cosines: dict[tuple[int, int], float | None], relative: float = 0.01
) -> list[str]:
    models = tuple("abc"[: len(norms)])
    report = InterferenceReport(
        models,
        (0.5, 1.0),
        (),
        tuple(PairAgreement(models[i], models[j], cosine, 0.5) for (i, j), cosine in cosines.items()),
        tuple(ModelNorm(m, norm, relative) for m, norm in zip(models, norms, strict=True)),
    )
    return model_warnings(report, models)


def test_common_fine_tunes_need_no_warning() -> None:
    assert warned([1.0, 1.4, 2.9], {(0, 1): 0.05, (0, 2): -0.01, (1, 2): 0.2}) == []


def test_a_norm_three_times_another_is_named_with_its_ratio() -> None:
    (text,) = warned([1.0, 3.3], {(0, 1): 0.0})
    assert text.startswith("b moved 3.3× further from the base than a")


def test_equal_models_are_named() -> None:
    (text,) = warned([2.0, 2.0], {(0, 1): 1.0})
    assert text.startswith("a and b are equal")


def test_models_of_one_direction_and_different_length_are_not_called_equal() -> None:
    (text,) = warned([1.0, 2.0], {(0, 1): 1.0})
    assert "same direction" in text


def test_fine_tunes_nearer_to_each_other_than_to_the_base_are_named_together() -> None:
    (text,) = warned([1.0, 1.0, 1.0], {(0, 1): 0.9, (0, 2): 0.1, (1, 2): 0.9})
    assert text.startswith("a, b and c are nearer to each other than to the base")
    assert warned([1.0, 1.0], {(0, 1): math.cos(math.radians(61))}) == []


def test_a_model_that_is_the_base_or_hardly_differs_from_it_is_named() -> None:
    (equal,) = warned([0.0, 1.0], {(0, 1): None})
    assert equal.startswith("a equals the base")
    (hardly,) = warned([1.0, 1.0], {(0, 1): 0.0}, relative=2e-5)
    assert hardly.startswith("a and b hardly differ from the base")


def test_a_cause_is_told_once_whatever_the_number_of_models() -> None:
    every = {(i, j): 1.0 for i in range(3) for j in range(i + 1, 3)}
    (text,) = warned([2.0, 2.0, 2.0], every)
    assert text.startswith("a, b and c are equal: together they count three times")
    (text,) = warned([0.0, 0.0, 1.0], {(0, 1): None, (0, 2): None, (1, 2): None})
    assert text.startswith("a and b equal the base: they add nothing")
