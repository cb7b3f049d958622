"""Whether models fit together, told from headers and configurations before any weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from merge_core.__main__ import main
from merge_core.checkpoint import open_folder
from merge_core.preflight import Verdict, examine
from merge_core.preflight.equal_weights import same_weights
from merge_core.prepare import open_all
from merge_core.recipe import load_recipe
from tests.checkpoints import read_model, write_model
from tests.core.command_line import refusal, write_recipe_file

EMBEDDING = "model.embed_tokens.weight"
TENSORS: dict[str, np.ndarray] = {
    EMBEDDING: np.ones((10, 4), np.float32),
    "model.layers.0.mlp.weight": np.ones((4, 4), np.float32),
    "model.layers.1.mlp.weight": np.ones((4, 4), np.float32),
    "model.norm.weight": np.ones(4, np.float32),
}
CONFIG: dict[str, Any] = {"model_type": "toy", "num_hidden_layers": 2, "hidden_size": 4}


def models(folder: Path, tuned: dict[str, Any], config: dict[str, Any] | None = None) -> tuple[Path, Path]:
    """A base and a fine-tune with other tensors or another configuration."""
    base = write_model(folder / "base", TENSORS, config=CONFIG)
    return base, write_model(folder / "tuned", tuned, config={**CONFIG, **(config or {})})


def verdict(folder: Path, base: Path, tuned: list[Path], **top: object) -> Verdict:
    recipe = load_recipe(write_recipe_file(folder, base, tuned, **top))
    return examine(recipe, open_all(recipe))


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: value for name, value in TENSORS.items() if name not in names}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "shape": (
        {**TENSORS, "model.norm.weight": np.ones(5, np.float32)}, {},
        "model.norm.weight: {base} has shape (4,), {tuned} has (5,)",
    ),
    "several shapes": (
        {**TENSORS, "model.norm.weight": np.ones(5), "model.layers.0.mlp.weight": np.ones((4, 5))}, {},
        "model.layers.0.mlp.weight: {base} has shape (4, 4), {tuned} has (4, 5). 1 more tensor differ",
    ),
    "added tokens": ({**TENSORS, EMBEDDING: np.ones((12, 4), np.float32)}, {}, "Added tokens?"),
    "missing": (without("model.norm.weight"), {}, "{tuned} lacks 1 tensor that {base} has: model.norm.weight"),
    "several missing": (without(EMBEDDING, "model.norm.weight"), {}, "lacks 2 tensors that {base} has: model.embed"),
    "integers": ({**TENSORS, "model.norm.weight": np.ones(4, np.int64)}, {}, "has dtype F32, {tuned} has I64"),
    "architecture": (TENSORS, {"model_type": "other"}, "{tuned} is a model of type other, {base} of type toy"),
    "size": (TENSORS, {"hidden_size": 8}, "{tuned} has hidden_size 8, {base} has 4"),
    "quantised": (TENSORS, {"quantization_config": {"quant_method": "gptq"}}, "{tuned} is quantised by gptq"),
    "own head": ({**TENSORS, "lm_head.weight": np.ones((10, 4), np.float32)}, {}, "output embedding of its own"),
    "8 bits": ({**TENSORS, "model.norm.weight": torch.ones(4).to(torch.float8_e4m3fn)}, {}, "of dtype F8_E4M3"),
}  # fmt: skip


@pytest.mark.parametrize(("tuned", "config", "sentence"), REFUSED.values(), ids=REFUSED)
def test_model_that_does_not_fit_is_refused_in_one_line(
    tuned: dict[str, Any],
    config: dict[str, Any],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if any(str(value.dtype) == "torch.float8_e4m3fn" for value in tuned.values()):
        base, other = models(tmp_path, TENSORS, config)
        from safetensors.torch import save_file

        save_file({n: torch.as_tensor(t) for n, t in tuned.items()}, other / "model.safetensors")
    else:
        base, other = models(tmp_path, tuned, config)
    said = refusal(write_recipe_file(tmp_path, base, [other]), capsys)
    assert sentence.format(base=base, tuned=other) in said


def test_check_lists_every_problem_with_a_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, first = models(tmp_path, without("model.norm.weight"))
    second = write_model(tmp_path / "second", TENSORS, config={**CONFIG, "model_type": "other"})
    assert main(["check", str(write_recipe_file(tmp_path, base, [first, second]))]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)


def test_same_model_twice_is_a_recipe_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, tuned = models(tmp_path, TENSORS)
    said = refusal(write_recipe_file(tmp_path, base, [tuned, tuned]), capsys)
    assert "is listed twice" in said


def moved(step: float) -> dict[str, np.ndarray]:
    """The tensors, the last entry of the last of them moved: as far behind the others as can be."""
    tensors = {name: values.copy() for name, values in TENSORS.items()}
    tensors["model.norm.weight"][-1] += np.float32(step)
    return tensors


@pytest.mark.parametrize("how", ["link", "copy", "shards"])
def test_one_model_under_two_names_is_noted(tmp_path: Path, how: str) -> None:
    base, tuned = models(tmp_path, moved(1))
    if how == "link":
        (tmp_path / "twin").symlink_to(tuned)
    else:
        write_model(tmp_path / "twin", moved(1), config=CONFIG, shards=2 if how == "shards" else 1)
    found = verdict(tmp_path, base, [tuned, tmp_path / "twin"])
    assert found.fits
    assert any("has the same weights as" in note and "they count twice" in note for note in found.notes)


def test_models_that_differ_in_one_entry_are_two(tmp_path: Path) -> None:
    large = {"x": np.zeros(3_000_000, np.float32)}
    base = write_model(tmp_path / "base", large, config=CONFIG)
    last = {"x": large["x"].copy()}
    last["x"][-1] = 1
    tuned = write_model(tmp_path / "tuned", last, config=CONFIG)
    found = verdict(tmp_path, base, [tuned])
    assert found.fits
    assert found.notes == ()


def test_fine_tune_equal_to_the_base_is_noted_and_merges_to_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, tuned = models(tmp_path, TENSORS)
    assert main(["merge", str(write_recipe_file(tmp_path, base, [tuned])), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert said == f"note: {tuned} has the same weights as the base {base}: its task vector is zero.\n"
    merged = read_model(tmp_path / "out")
    assert all((merged[name].numpy() == values).all() for name, values in TENSORS.items())


def test_integer_and_boolean_tensors_are_copied_from_the_base_and_noted(tmp_path: Path) -> None:
    whole = {"model.position_ids": np.arange(6), "model.mask": np.array([True, False, True])}
    base = write_model(tmp_path / "base", {**TENSORS, **whole}, config=CONFIG)
    other = {"model.position_ids": np.zeros(6, np.int64), "model.mask": np.array([False] * 3)}
    tuned = write_model(tmp_path / "tuned", {**TENSORS, **other}, config=CONFIG)
    assert any("2 tensors of whole numbers" in note for note in verdict(tmp_path, base, [tuned]).notes)
    recipe = write_recipe_file(tmp_path, base, [tuned], dtype="bfloat16")
    assert main(["merge", str(recipe), str(tmp_path / "out")]) == 0
    merged = read_model(tmp_path / "out")
    for name, values in whole.items():
        np.testing.assert_array_equal(merged[name].numpy(), values)
        assert merged[name].numpy().dtype == values.dtype


@pytest.mark.parametrize("method", ["ties", "task_arithmetic", "linear"])
@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_tensors_of_no_entries_and_single_numbers_are_merged(tmp_path: Path, method: str, scope: str) -> None:
    odd = {"none": np.zeros((0, 3), np.float32), "one": np.float32(2.0)}
    base = write_model(tmp_path / "base", {**TENSORS, **odd}, config=CONFIG)
    moved = {name: values + np.float32(0.5) for name, values in {**TENSORS, **odd}.items()}
    tuned = write_model(tmp_path / "tuned", moved, config=CONFIG)
    parameters: dict[str, object] = {"weight": 1.0}
    if method == "ties":
        parameters |= {"density": 1.0, "trim_scope": scope}
    recipe = write_recipe_file(tmp_path, base, [tuned], merge_method=method, parameters=parameters)
    assert main(["merge", str(recipe), str(tmp_path / "out")]) == 0
    merged = read_model(tmp_path / "out")
    assert merged["none"].shape == (0, 3)
    assert merged["one"].shape == ()
    assert float(merged["one"]) == 2.5


@pytest.mark.parametrize(("value", "words"), [(np.nan, "not a number (NaN)"), (np.inf, "infinite")])
def test_weights_that_are_not_finite_are_refused_where_they_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, words: str
) -> None:
    spoilt = {name: values.copy() for name, values in TENSORS.items()}
    spoilt["model.layers.1.mlp.weight"][2, 3] = value
    base, tuned = models(tmp_path, spoilt)
    said = refusal(write_recipe_file(tmp_path, base, [tuned]), capsys)
    assert f"{tuned}: model.layers.1.mlp.weight in model.safetensors is {words}" in said
    assert "index [2, 3]" in said


def test_differences_that_are_no_obstacle_are_noted(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", TENSORS, config={**CONFIG, "rope_theta": 10000.0})
    extra = {**TENSORS, "model.extra.weight": np.ones(3, np.float32)}
    tuned = write_model(tmp_path / "tuned", extra, "bfloat16", config={**CONFIG, "rope_theta": 5e5})
    notes = " ".join(verdict(tmp_path, base, [tuned]).notes)
    assert "is stored in BF16" in notes
    assert "has 1 tensor that" in notes
    assert "rope_theta is 500000.0" in notes


def test_tied_head_that_one_model_stores_fits_one_that_does_not(tmp_path: Path) -> None:
    tied = {**CONFIG, "tie_word_embeddings": True}
    base = write_model(tmp_path / "base", TENSORS, config=tied)
    with_head = {**TENSORS, "lm_head.weight": TENSORS[EMBEDDING].copy()}
    tuned = write_model(tmp_path / "tuned", with_head, config=tied)
    assert verdict(tmp_path, base, [tuned]).fits
    assert verdict(tmp_path, tuned, [base]).fits


def test_filter_that_matches_no_tensor_is_noted(tmp_path: Path) -> None:
    base, tuned = models(tmp_path, TENSORS)
    weight = [{"filter": "attention", "value": 0.5}, {"value": 1.0}]
    notes = verdict(tmp_path, base, [tuned], parameters={"weight": weight}).notes
    assert any("attention" in note and "matches no tensor" in note for note in notes)


def test_weight_that_no_filter_gives_to_some_tensor_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, tuned = models(tmp_path, TENSORS)
    recipe = write_recipe_file(
        tmp_path, base, [tuned],
        merge_method="task_arithmetic", parameters={"weight": [{"filter": "mlp", "value": 0.5}]},
    )  # fmt: skip
    assert "no filter of weight matches" in refusal(recipe, capsys)


def test_slices_that_leave_out_layers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, tuned = models(tmp_path, TENSORS)
    part = {"sources": [{"model": str(tuned), "layer_range": [0, 1]}]}
    recipe = write_recipe_file(tmp_path, base, None, slices=[part])
    said = refusal(recipe, capsys)
    assert "the slices cover 1 layer, " in said
    assert "has 2" in said


def test_bytes_of_the_output_are_told_before_the_merge(tmp_path: Path) -> None:
    base, tuned = models(tmp_path, TENSORS)
    entries = sum(values.size for values in TENSORS.values())
    assert verdict(tmp_path, base, [tuned]).bytes_out == 4 * entries
    assert verdict(tmp_path, base, [tuned], out_dtype="bfloat16").bytes_out == 2 * entries


def test_names_from_files_reach_no_terminal_with_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;evil\x07\u202e${x}{{y}}<b>"
    base = write_model(tmp_path / "base", {**TENSORS, hostile: np.ones(4, np.float32)}, config=CONFIG)
    tuned = write_model(tmp_path / "tuned", {**TENSORS, hostile: np.ones(5, np.float32)}, config=CONFIG)
    assert "has shape (4,)" in refusal(write_recipe_file(tmp_path, base, [tuned]), capsys)
    config = {**CONFIG, "model_type": hostile}
    (tuned / "config.json").write_text(json.dumps(config))
    refusal(write_recipe_file(tmp_path, base, [tuned]), capsys)


def test_opening_reads_no_weights(tmp_path: Path) -> None:
    base, tuned = models(tmp_path, TENSORS)
    size = (base / "model.safetensors").stat().st_size
    with open(base / "model.safetensors", "r+b") as file:
        file.truncate(size - 160)
        file.truncate(size)  # a hole where the weights were: headers alone still say all
    assert not same_weights(open_folder(base, "base"), open_folder(tuned, "tuned"))
    assert verdict(tmp_path, base, [tuned]).fits
    assert open_folder(base, "base").nbytes == 4 * sum(v.size for v in TENSORS.values())


def test_full_model_in_the_place_of_an_adapter_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, tuned = models(tmp_path, TENSORS)
    recipe = write_recipe_file(tmp_path, base, [tuned])
    document = yaml.safe_load(recipe.read_text())
    document["models"][0]["model"] = {"model": {"path": str(base)}, "lora": str(tuned)}
    recipe.write_text(yaml.safe_dump(document))
    assert f"{tuned} is a full model. After `+` comes a LoRA adapter" in refusal(recipe, capsys)


def tokenizer(folder: Path, *tokens: str, added: str = "<s>") -> None:
    """A tokenizer.json whose vocabulary is `tokens`, in order."""
    vocabulary = {token: place for place, token in enumerate(tokens)}
    extra = [{"id": len(tokens), "content": added}]
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": vocabulary}, "added_tokens": extra})
    )


@pytest.mark.parametrize("source", ["union", "{tuned}"])
def test_tokenizer_of_another_model_with_the_same_vocabulary_is_noted(tmp_path: Path, source: str) -> None:
    base, tuned = models(tmp_path, TENSORS)
    tokenizer(base, "a", "b")
    tokenizer(tuned, "a", "b")
    found = verdict(tmp_path, base, [tuned], tokenizer_source=source.format(tuned=tuned))
    assert found.fits
    assert any(f"the output takes over the tokenizer files of {base}" in note for note in found.notes)


@pytest.mark.parametrize(("tokens", "added"), [(("b", "a"), "<s>"), (("a", "b"), "<pad>")])
def test_tokenizer_source_over_vocabularies_that_differ_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tokens: tuple[str, str], added: str
) -> None:
    base, tuned = models(tmp_path, TENSORS)
    tokenizer(base, "a", "b")
    tokenizer(tuned, *tokens, added=added)
    said = refusal(write_recipe_file(tmp_path, base, [tuned], tokenizer_source="union"), capsys)
    assert f"{tuned} has another vocabulary than {base}" in said


def test_base_as_tokenizer_source_is_what_happens_anyway(tmp_path: Path) -> None:
    base, tuned = models(tmp_path, moved(1))
    tokenizer(base, "a", "b")
    tokenizer(tuned, "b", "a")
    found = verdict(tmp_path, base, [tuned], tokenizer_source="base")
    assert found.fits
    assert not any("tokenizer_source is" in note for note in found.notes)


def test_chat_template_of_the_recipe_is_not_dropped_in_silence(tmp_path: Path) -> None:
    base, tuned = models(tmp_path, TENSORS)
    assert any(
        "chat_template is set aside" in n
        for n in verdict(tmp_path, base, [tuned], chat_template="chatml").notes
    )


@pytest.mark.parametrize(
    "content", ["", "[]", '{"model": 1}', '{"model": {"vocab": {}}, "added_tokens": [1]}', "[" * 99999]
)
def test_tokenizer_that_cannot_be_read_stands_against_nothing(tmp_path: Path, content: str) -> None:
    base, tuned = models(tmp_path, TENSORS)
    tokenizer(base, "a", "b")
    (tuned / "tokenizer.json").write_text(content)
    assert verdict(tmp_path, base, [tuned], tokenizer_source="union").fits
