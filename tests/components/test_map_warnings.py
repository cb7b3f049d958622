"""What is said about models whose norms and angles are out of the ordinary, and that nothing is said otherwise."""

from __future__ import annotations

import math
from dataclasses import replace

from components.interference.model_warnings import model_warnings
from merge_core.interference import InterferenceReport, ModelNorm, PairAgreement, TensorInterference
from merge_core.interference.warnings import warnings_of


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


def sampled(norms: list[tuple[float, float, float]], cosine: tuple[float, float, float]) -> list[str]:
    """What is said of two models of which (value, low, high) are known."""
    tensor = TensorInterference("w", None, "w", "", 100, (1,), (1,), (1,), sampled=10)
    a, b = (
        ModelNorm(name, norm, norm / 1e5, low, high, low / 1e5, high / 1e5)
        for name, (norm, low, high) in zip("ab", norms, strict=True)
    )
    pair = PairAgreement("a", "b", cosine[0], 0.5, cosine[1], cosine[2])
    report = InterferenceReport(("a", "b"), (1.0,), (tensor,), (pair,), (a, b))
    whole = replace(report, tensors=(replace(tensor, sampled=None),))
    assert len(model_warnings(report, "ab")) <= len(warnings_of(whole))
    return model_warnings(report, "ab")


def test_of_a_sample_a_ratio_of_norms_is_told_with_its_range_and_only_if_all_of_it_is_large() -> None:
    apart = (0.0, -0.1, 0.1)
    (text,) = sampled([(100.0, 90.0, 110.0), (400.0, 380.0, 420.0)], apart)
    assert text.startswith("b moved 4.0× (3.5 to 4.7) further from the base than a")
    assert sampled([(100.0, 70.0, 130.0), (400.0, 350.0, 450.0)], apart) == []


def test_of_a_sample_what_equals_is_said_of_what_was_read() -> None:
    (text,) = sampled([(10.0, 9.0, 11.0), (10.0, 9.0, 11.0)], (1.0, 1.0, 1.0))
    assert text.startswith("a and b are equal in all that was read")
    texts = sampled([(0.0, 0.0, 0.0), (30.0, 29.0, 31.0)], (0.0, 0.0, 0.0))
    assert texts[0].startswith("a equals the base in all that was read")


def test_of_a_sample_closeness_is_told_only_where_the_interval_supports_it() -> None:
    norms = [(20.0, 19.0, 21.0), (20.0, 19.0, 21.0)]
    (text,) = sampled(norms, (0.8, 0.7, 0.9))
    assert "nearer to each other" in text
    assert sampled(norms, (0.6, 0.4, 0.8)) == []


def test_of_a_sample_a_model_hardly_differs_if_the_most_it_may_have_moved_is_little() -> None:
    apart = (0.0, -0.1, 0.1)
    (text,) = sampled([(6.0, 5.0, 7.0), (15.0, 14.0, 16.0)], apart)
    assert "a hardly differs from the base: it moved by at most 0.0070%" in text
    assert sampled([(9.0, 7.0, 12.0), (15.0, 14.0, 16.0)], apart) == []
