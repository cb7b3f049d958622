"""A merge method is one function: in plain numpy it is declared, checked, streamed, resumed and run on all cores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from merge_core import methods as registry
from merge_core.engine import merge
from merge_core.errors import UserError
from merge_core.methods import METHODS, Field, Method, method
from merge_core.methods.drawing import Draw
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from merge_core.streaming import pieces as pieces_module
from tests.checkpoints import as_float64, read_model
from tests.core.test_engine import family, recipe_text, task_vectors, weight_bytes


@pytest.fixture
def consensus() -> Iterator[list[tuple[int, ...]]]:
    """A method declared outside the project; answers with the shapes it was given."""
    shapes: list[tuple[int, ...]] = []

    @method(title="Consensus", reference="Wang et al. 2024, arXiv:2405.07813")
    def consensus_ta(
        tau: Any,
        *,
        weight: Annotated[Any, Field("Weight", "How much a model counts.", per_model=True, required=True)],
        threshold: Annotated[float, Field("Threshold", "How large against the others.", 0, 1)] = 0.4,
        agree: Annotated[int, Field("Agree", "How many models must.", 1, 8)] = 2,
    ) -> Any:
        """Keep the entries that matter to several models."""
        shapes.append(tau.shape)
        tau = tau * weight[:, None].astype(np.float32)
        whole = tau.sum(0)
        matters = np.abs(tau) > np.float32(threshold) * np.abs(whole - tau)
        return np.where(matters.sum(0) >= agree, whole, np.float32(0))

    assert isinstance(consensus_ta, Method)
    registry.METHODS["consensus_ta"] = consensus_ta
    yield shapes
    del registry.METHODS["consensus_ta"]


def test_a_new_elementwise_method_in_plain_numpy_streams_over_all_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, consensus: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(pieces_module, "CHUNK", 256)
    monkeypatch.setattr(pieces_module, "PIECE", 1024)
    paths = family(tmp_path, "bfloat16")
    text = recipe_text(paths, "consensus_ta", threshold=0.3, out_dtype="float32")
    merge(prepare(read_recipe(text)), tmp_path / "out", threads=3)
    merge(prepare(read_recipe(text)), tmp_path / "alone", threads=1)
    assert weight_bytes(tmp_path / "out") == weight_bytes(tmp_path / "alone")
    assert max(n for _, n in consensus) <= 256
    got = read_model(tmp_path / "out")
    base, taus = task_vectors(paths)
    for name, start in base.items():
        tau = np.stack([w * t[name] for w, t in zip((0.5, 1.0, 2.0), taus, strict=True)]).astype(np.float32)
        matters = np.abs(tau) > np.float32(0.3) * np.abs(tau.sum(0) - tau)
        expected = start + np.where(matters.sum(0) >= 2, tau.sum(0), 0)
        np.testing.assert_allclose(as_float64(got[name]).ravel(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("consensus")
def test_the_checker_knows_a_new_method_and_its_ranges(tmp_path: Path) -> None:
    paths = family(tmp_path, "float32", models=2)
    with pytest.raises(UserError, match="threshold"):
        read_recipe(recipe_text(paths, "consensus_ta", threshold=3))
    with pytest.raises(UserError, match="agre"):
        read_recipe(recipe_text(paths, "consensus_ta", agre=1))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name: str) -> None:
    declared = METHODS[name]
    assert declared.title
    assert "arXiv" in declared.reference
    assert declared.help.endswith(".")
    for parameter in declared.parameters:
        assert parameter.label
        assert parameter.help.endswith(".")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("factor", [-1.0, 4.0])
def test_methods_scale_with_what_they_merge(name: str, factor: float) -> None:
    """f(cτ) = c·f(τ), by powers of two and by a change of sign; no entry cancels exactly."""
    declared = METHODS[name]
    rng = np.random.default_rng(2)
    tau = rng.standard_t(3, (3, 500)).astype(np.float32)
    given: dict[str, Any] = {p.argument: p.default for p in declared.parameters}
    given["weight"] = np.array([0.5, 0.25, 1.0])
    if "density" in given:
        given["density"] = np.full(3, 0.5)
    given = declared.resolve(given)
    if declared.draws:
        given["draw"] = Draw("w", ("a", "b", "c"), 0)
    if declared.trim is not None:
        from merge_core.methods.trimming import Trimmed

        zero = np.zeros(3)
        given["trimmed"] = Trimmed(np.zeros(3, np.uint32), zero, zero, zero)
    np.testing.assert_array_equal(
        declared.function(tau * np.float32(factor), **given),
        np.float32(factor) * declared.function(tau, **given),
    )
