"""The engine against a float64 reference: every dialect, dtype and scope, through real files; and what it promises."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

from merge_core.engine import merge
from merge_core.errors import UserError
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from merge_core.streaming import pieces as pieces_module
from merge_core.trimming import thresholds as thresholds_module
from tests.checkpoints import TORCH_DTYPES, as_float64, read_model, reference_ties, write_model

DIALECTS = ("mergekit", "peft", "paper", "fusionbench", "sd-mecha")
WEIGHTS = (0.5, 1.0, 2.0)
SHAPES = {
    "model.embed_tokens.weight": (64, 24),
    "model.layers.0.mlp.weight": (24, 40),
    "model.layers.0.norm.weight": (24,),
    "model.layers.1.mlp.weight": (24, 40),
    "scale": (),
    "nothing": (0, 7),
}


def family(
    folder: Path, dtype: str, models: int = 3, shapes: Mapping[str, tuple[int, ...]] = SHAPES
) -> list[Path]:
    """A base and its fine-tunes, with heavy tails, many equal magnitudes, zeros, opposites and denormals."""
    rng = np.random.default_rng(5)
    base = {n: torch.tensor(rng.normal(0, 1, s).round(1)).to(TORCH_DTYPES[dtype]) for n, s in shapes.items()}
    paths = [write_model(folder / "base", base, dtype)]
    for number in range(models):
        tuned = {}
        for name, values in base.items():
            steps = rng.integers(-6, 7, values.shape) * 2.0**-5 * rng.choice([1, 1, 1, 8], values.shape)
            tuned[name] = values.double() + torch.tensor(steps)
            if values.dim() == 2 and values.numel():
                tuned[name][0, :4] = 0.0
                base[name][0, :4] = 0.0
                tuned[name][0, 2] = 6e-8 * (number + 1)
                tuned[name][0, 3] = -0.0
        paths.append(write_model(folder / f"tuned-{number}", tuned, dtype, shards=1 + number % 2))
    write_model(folder / "base", base, dtype)
    return paths


def recipe_text(
    paths: list[Path], method: str = "ties", weights: tuple[float, ...] = WEIGHTS, **parameters: Any
) -> str:
    unweighted = parameters.get("dialect") in ("paper", "fusionbench", "sd-mecha")
    out_dtype = parameters.pop("out_dtype", None)
    models = [
        {"model": str(p), **({} if unweighted else {"parameters": {"weight": w}})}
        for p, w in zip(paths[1:], weights, strict=False)
    ]
    document = {
        "merge_method": method,
        "base_model": str(paths[0]),
        "models": models,
        "parameters": parameters,
    }
    if out_dtype:
        document["out_dtype"] = out_dtype
    return yaml.safe_dump(document)


def merged(text: str, out: Path, **limits: Any) -> dict[str, torch.Tensor]:
    merge(prepare(read_recipe(text)), out, **limits)
    return read_model(out)


def task_vectors(paths: list[Path]) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    """The base and the fine-tunes' differences from it, float32, flat."""
    base = {n: t.float().numpy().ravel() for n, t in read_model(paths[0]).items()}
    return base, [
        {n: t.float().numpy().ravel() - base[n] for n, t in read_model(p).items()} for p in paths[1:]
    ]


def reference(paths: list[Path], scope: str, density: float, **options: Any) -> dict[str, np.ndarray]:
    """name → base plus merged task vector, float64, flat."""
    base, taus = task_vectors(paths)
    names = sorted(base)
    dialect = options.get("dialect", "mergekit")
    weight = (
        [1.0] * len(taus) if dialect in ("paper", "fusionbench", "sd-mecha") else list(WEIGHTS[: len(taus)])
    )

    def ties(parts: list[np.ndarray]) -> np.ndarray:
        return reference_ties(
            [p.astype(np.float64) for p in parts], [density] * len(parts), weight, **options
        )

    if scope == "tensor":
        return {n: base[n] + ties([t[n] for t in taus]) for n in names if base[n].size}
    whole = ties([np.concatenate([t[n] for n in names]) for t in taus])
    cuts = np.cumsum([base[n].size for n in names])[:-1]
    return {n: base[n] + part for n, part in zip(names, np.split(whole, cuts), strict=True)}


def assert_rounded(got: Mapping[str, torch.Tensor], expected: Mapping[str, np.ndarray], dtype: str) -> None:
    """Every entry is the reference's value, rounded to float32 and then to `dtype`, within a unit of the last place."""
    bits = {"float32": 24, "float16": 11, "bfloat16": 8}[dtype]
    for name, values in expected.items():
        assert got[name].dtype == TORCH_DTYPES[dtype]
        tolerance = np.maximum(np.abs(values), 1e-6) * 2.0 ** (1 - bits) + 1e-7
        difference = np.abs(as_float64(got[name]).ravel() - values)
        assert (difference <= tolerance).all(), (name, float(difference.max()))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_dialect_dtype_and_scope_is_the_float64_reference(
    tmp_path: Path, dialect: str, scope: str, dtype: str
) -> None:
    paths = family(tmp_path, dtype)
    for density in (0.2, 0.73):
        text = recipe_text(paths, dialect=dialect, trim_scope=scope, density=density)
        got = merged(text, tmp_path / f"out-{density}")
        assert_rounded(got, reference(paths, scope, density, dialect=dialect), dtype)


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("dialect", ["mergekit", "paper"])
@pytest.mark.parametrize("cut", ["pieces", "spans", "tables"])
def test_a_tensor_in_many_pieces_is_merged_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, dialect: str, cut: str
) -> None:
    """Chunks, pieces and spans of a few entries, and counting in tables where a small scope would not need them."""
    monkeypatch.setattr(pieces_module, "CHUNK", 64)
    if cut == "pieces":
        monkeypatch.setattr(pieces_module, "PIECE", 200)
    if cut == "tables":
        monkeypatch.setattr(thresholds_module, "SMALL_SCOPE", 1024)
    memory = 60_000_000 if cut == "spans" else 1 << 30
    paths = family(tmp_path, "bfloat16")
    text = recipe_text(paths, dialect=dialect, trim_scope=scope, density=0.3)
    got = merged(text, tmp_path / "out", memory=memory)
    assert_rounded(got, reference(paths, scope, 0.3, dialect=dialect), "bfloat16")


@pytest.mark.parametrize("elect", ["mass", "count", "normfrac", "normmass", "none"])
@pytest.mark.parametrize("combine", ["mean", "sum", "max"])
def test_elections_and_combinations_are_the_float64_reference(
    tmp_path: Path, elect: str, combine: str
) -> None:
    rng = np.random.default_rng(3)
    base = {"w": rng.normal(0, 1, (30, 50))}
    paths = [write_model(tmp_path / "base", base)]
    paths += [
        write_model(tmp_path / f"{i}", {"w": base["w"] + rng.standard_t(3, (30, 50))}) for i in range(3)
    ]
    for rescale in (False, True):
        text = recipe_text(paths, density=0.4, elect=elect, combine=combine, rescale=rescale)
        got = merged(text, tmp_path / f"out-{rescale}")
        assert_rounded(
            got, reference(paths, "tensor", 0.4, elect=elect, combine=combine, rescale=rescale), "float32"
        )


@pytest.mark.parametrize("elect", ["normfrac", "normmass"])
def test_a_restored_norm_changes_no_share_of_a_norm(tmp_path: Path, elect: str) -> None:
    """A vector's share of its own squared norm is the same whatever the vector is multiplied by."""
    rng = np.random.default_rng(7)
    base = {"w": rng.normal(0, 1, (30, 50))}
    tails = (rng.normal(0, 1, (30, 50)), rng.standard_t(2, (30, 50)), rng.uniform(-2, 2, (30, 50)))
    paths = [write_model(tmp_path / "base", base)]
    paths += [write_model(tmp_path / f"{i}", {"w": base["w"] + tail}) for i, tail in enumerate(tails)]
    text = recipe_text(paths, density=0.3, elect=elect, rescale=True)
    got = merged(text, tmp_path / "out")
    assert_rounded(got, reference(paths, "tensor", 0.3, elect=elect, rescale=True), "float32")


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
@pytest.mark.parametrize("normalize", [True, False])
def test_averages_are_the_float64_reference(tmp_path: Path, method: str, normalize: bool) -> None:
    paths = family(tmp_path, "float32")
    text = recipe_text(paths, method, normalize=normalize)
    if method == "linear":
        document = yaml.safe_load(text)
        del document["base_model"]
        text = yaml.safe_dump(document)
    got = merged(text, tmp_path / "out")
    base, taus = task_vectors(paths)
    total = sum(WEIGHTS) if normalize else 1.0
    for name, values in base.items():
        start = values.astype(np.float64) if method == "task_arithmetic" else 0.0
        own = [as_float64(read_model(p)[name]).ravel() for p in paths[1:]]
        parts = [t[name].astype(np.float64) for t in taus] if method == "task_arithmetic" else own
        expected = start + sum(w * p for w, p in zip(WEIGHTS, parts, strict=True)) / total
        np.testing.assert_allclose(as_float64(got[name]).ravel(), expected, rtol=2e-7, atol=1e-7)


def test_models_may_be_stored_in_different_dtypes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base = {"w": torch.tensor(rng.normal(0, 1, (40, 30)))}
    paths = [write_model(tmp_path / "base", base, "bfloat16")]
    for dtype in ("float32", "float16", "bfloat16"):
        paths.append(
            write_model(
                tmp_path / dtype, {"w": base["w"] + torch.tensor(rng.normal(0, 0.1, (40, 30)))}, dtype
            )
        )
    got = merged(recipe_text(paths, density=0.5, out_dtype="float32"), tmp_path / "out")
    assert_rounded(got, reference(paths, "tensor", 0.5), "float32")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])  # with a mark of the order of bytes
def test_configuration_in_any_encoding_of_json_is_taken_over(tmp_path: Path, encoding: str) -> None:
    paths = family(tmp_path, "float32")
    for path in paths:
        (path / "config.json").write_text(
            '{"model_type": "größer", "odd": "\\ud800", "dtype": "float64"}', encoding=encoding
        )
    merged(recipe_text(paths, density=0.5, out_dtype="float32"), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config == {"model_type": "größer", "odd": "\ud800", "dtype": "float32"}


def test_float64_weights_are_merged_in_float32_and_stay_float64(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    paths = []
    for number, name in enumerate(("base", "a", "b")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        save_file(
            {"w": torch.linspace(-1, 1, 33, dtype=torch.float64) * (number + 1)}, folder / "model.safetensors"
        )
        paths.append(folder)
    got = merged(recipe_text(paths, density=0.5), tmp_path / "out")["w"]
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), reference(paths, "tensor", 0.5)["w"], rtol=1e-6)


def test_tensors_at_odd_bytes_are_read_right(tmp_path: Path) -> None:
    """Nothing in the format says that a tensor starts at a multiple of its entries' size."""
    paths = family(tmp_path, "float32", models=2)
    expected = merged(recipe_text(paths, density=0.3), tmp_path / "even")
    for path in paths:
        for file in path.glob("*.safetensors"):
            data = file.read_bytes()
            length = int.from_bytes(data[:8], "little")
            odd = length + (-length) % 8 + 3
            file.write_bytes(odd.to_bytes(8, "little") + data[8 : 8 + length].ljust(odd) + data[8 + length :])
    got = merged(recipe_text(paths, density=0.3), tmp_path / "odd")
    for name, values in expected.items():
        assert torch.equal(got[name], values)


def weight_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.glob("*.safetensors")))


@pytest.mark.parametrize(
    "parameters", [{"density": 0.3}, {"dialect": "paper", "density": 0.3}, {"density": 0.3, "rescale": True}]
)
def test_bytes_do_not_depend_on_threads_memory_or_the_order_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    monkeypatch.setattr(pieces_module, "PIECE", 1 << 15)
    paths = family(tmp_path, "bfloat16", shapes={**SHAPES, "large.weight": (600, 300)})
    entries = list(zip(paths[1:], WEIGHTS, strict=True))
    outputs = set()
    limits = [{"threads": 1}, {"threads": 3}, {"threads": 2, "memory": 40_000_000}, {}]
    for number, (order, limit) in enumerate(zip(itertools.permutations(entries), limits, strict=False)):
        text = recipe_text(
            [paths[0], *(p for p, _ in order)], weights=tuple(w for _, w in order), **parameters
        )
        merged(text, tmp_path / f"out-{number}", **limit)
        outputs.add(weight_bytes(tmp_path / f"out-{number}"))
    assert len(outputs) == 1


def test_memory_too_small_for_anything_is_an_error(tmp_path: Path) -> None:
    paths = family(tmp_path, "float32", models=2)
    with pytest.raises(UserError, match="MB of memory are too few"):
        merged(recipe_text(paths, density=0.3), tmp_path / "out", memory=1000)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["base", "tuned-1"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("method", ["ties", "task_arithmetic"])
def test_values_that_are_not_finite_are_refused_by_tensor_and_index(
    tmp_path: Path, value: float, where: str, dtype: str, method: str
) -> None:
    paths = family(tmp_path, dtype, models=2)
    tensors = read_model(tmp_path / where)
    tensors["model.layers.1.mlp.weight"][3, 17] = value
    for file in (tmp_path / where).glob("*.safetensors*"):
        file.unlink()
    write_model(tmp_path / where, tensors, dtype)
    parameters = {"density": 0.3} if method == "ties" else {}
    kind = "not a number" if np.isnan(value) else "infinite"
    with pytest.raises(
        UserError, match=rf"{where}: model\.layers\.1\.mlp\.weight .* is {kind}.* at index \[3, 17\]"
    ):
        merged(recipe_text(paths, method, **parameters), tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_a_difference_too_large_for_float32_is_refused(tmp_path: Path) -> None:
    paths = [
        write_model(tmp_path / "base", {"w": np.full(4, -3e38)}),
        write_model(tmp_path / "a", {"w": np.full(4, 3e38)}),
    ]
    with pytest.raises(UserError, match="w: a fine-tune's difference"):
        merged(recipe_text(paths, density=0.5), tmp_path / "out")


def test_a_result_too_large_for_the_output_is_refused(tmp_path: Path) -> None:
    paths = [
        write_model(tmp_path / "base", {"w": np.zeros(4)}),
        write_model(tmp_path / "a", {"w": np.full(4, 1e6)}),
    ]
    with pytest.raises(UserError, match="exceed what float16 can hold"):
        merged(recipe_text(paths, density=1.0, out_dtype="float16"), tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_whole_numbers_are_copied_from_the_base_and_zeros_keep_their_sign(tmp_path: Path) -> None:
    base = {
        "w": np.array([-0.0, 1.0, 0.0]),
        "steps": torch.tensor([3, 4]),
        "mask": torch.tensor([True]),
        "none": torch.zeros(0, dtype=torch.int8),
    }
    tuned = {**base, "w": np.array([-0.0, 2.0, 0.0]), "steps": torch.tensor([9, 9])}
    paths = [write_model(tmp_path / "base", base), write_model(tmp_path / "a", tuned)]
    got = merged(recipe_text(paths, density=1.0), tmp_path / "out")
    assert got["steps"].tolist() == [3, 4]
    assert got["mask"].tolist() == [True]
    assert got["none"].shape == (0,)
    np.testing.assert_array_equal(got["w"].numpy(), [0.0, 3.0 - 1.0, 0.0])


def test_no_task_vectors_give_the_base_bit_for_bit(tmp_path: Path) -> None:
    tensors = {"w": torch.tensor([-0.0, 0.0, 1.5, -3.0, 1e-40, -0.0])}
    paths = [write_model(tmp_path / name, tensors, "bfloat16") for name in ("base", "copy")]
    got = merged(recipe_text(paths, density=0.5), tmp_path / "out")["w"]
    assert torch.equal(got.view(torch.int16), read_model(paths[0])["w"].view(torch.int16))


def test_one_model_at_density_one_gives_that_model(tmp_path: Path) -> None:
    paths = family(tmp_path, "bfloat16", models=1)
    got = merged(recipe_text(paths, density=1.0, weights=(1.0,)), tmp_path / "out")
    for name, values in read_model(paths[1]).items():
        np.testing.assert_array_equal(as_float64(got[name]), as_float64(values))


def test_large_outputs_are_sharded_with_an_index(tmp_path: Path) -> None:
    paths = family(tmp_path, "bfloat16")
    text = recipe_text(paths, density=0.3)
    merge(prepare(read_recipe(text), shard_bytes=2000), tmp_path / "out")
    files = sorted(f.name for f in (tmp_path / "out").glob("*.safetensors"))
    assert files == [f"model-{i + 1:05}-of-{len(files):05}.safetensors" for i in range(len(files))]
    assert len(files) > 1
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "out" / file, "pt") as opened:
            assert name in opened.keys()  # noqa: SIM118  it is no dict
    whole = merged(text, tmp_path / "whole")
    assert {n: t.tolist() for n, t in read_model(tmp_path / "out").items()} == {
        n: t.tolist() for n, t in whole.items()
    }


def test_the_header_carries_the_recipe_and_no_path(tmp_path: Path) -> None:
    paths = family(tmp_path, "bfloat16")
    merged(recipe_text(paths, density=0.3), tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as opened:
        metadata = opened.metadata()
    assert metadata["format"] == "pt"
    said = yaml.safe_load(metadata["merge"])
    assert said["merge_method"] == "ties"
    assert said["base_model"] == "./base"
    assert str(tmp_path) not in metadata["merge"]


def test_a_model_without_a_configuration_is_merged(tmp_path: Path) -> None:
    paths = family(tmp_path, "float32", models=2)
    for path in paths:
        (path / "config.json").unlink()
    merged(recipe_text(paths, density=0.3), tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_cancelled_merge_leaves_nothing(tmp_path: Path) -> None:
    from merge_core.progress import Cancelled

    paths = family(tmp_path, "float32", models=2)
    plan = prepare(read_recipe(recipe_text(paths, density=0.3)))
    with pytest.raises(Cancelled):
        merge(plan, tmp_path / "out", cancelled=lambda: True)
    assert not list(tmp_path.glob("*out*"))
