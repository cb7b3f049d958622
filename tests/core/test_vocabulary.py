"""Tokens, special tokens and tied embeddings of a fine-tune against those of its base, from small files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merge_core.checkpoint import open_folder
from merge_core.preflight.tensor_groups import grouped
from merge_core.preflight.tokenizer_files import vocabulary
from merge_core.preflight.vocabulary import vocabulary_difference
from merge_core.recipe import ModelRef
from tests.checkpoints import write_model
from tests.core.test_preflight import CONFIG, EMBEDDING, TENSORS, verdict

BPE = {
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}},
    "added_tokens": [{"id": 3, "content": "<s>"}],
}


def changed(vocab: Mapping[str, int], *added: str) -> dict[str, Any]:
    tokens = [{"id": len(vocab) + number, "content": token} for number, token in enumerate(added)]
    return {"model": {"type": "BPE", "vocab": dict(vocab)}, "added_tokens": tokens}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = write_model(tmp_path / "base", TENSORS, config=CONFIG)
    (folder / "tokenizer.json").write_text(json.dumps(BPE))
    return folder


def tuned(tmp_path: Path, tokenizer: object = BPE, **files: object) -> Path:
    moved = {name: value + 1 for name, value in TENSORS.items()}
    folder = write_model(tmp_path / "tuned", moved, config=CONFIG)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def difference(base: Path, other: Path) -> str:
    said = vocabulary_difference(open_folder(base, "base"), ModelRef("tuned"), open_folder(other, "tuned"))
    return said.removeprefix("tuned ")


def test_equal_vocabularies_in_files_that_differ_are_no_difference(tmp_path: Path, base: Path) -> None:
    same = tuned(tmp_path, {**BPE, "truncation": {"max_length": 512}})
    assert difference(base, same) == ""
    assert verdict(tmp_path, base, [same]).notes == ()


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "added": (
        changed({"a": 0, "b": 1, "c": 2}, "<s>", "<|im_start|>", "<|im_end|>"),
        "knows 2 tokens (<|im_start|>, <|im_end|>) that base does not (6 tokens in all, against 4).",
    ),
    "lost": (
        changed({"a": 0, "b": 1, "c": 2}),
        "lacks 1 token (<s>) that base knows (3 tokens in all, against 4).",
    ),
    "moved": (
        changed({"b": 0, "a": 1, "c": 2}, "<s>"),
        "keeps 2 tokens (b, a) in other rows of its embedding, so that rows of different tokens meet.",
    ),
    "many": (
        changed({"a": 0, "b": 1, "c": 2}, "<s>", *(f"t{n}" for n in range(5000))),
        "knows 5,000 tokens (t0, t1, t2, t3, …) that base does not (5,004 tokens in all, against 4).",
    ),
    "hostile": (
        changed({"a": 0, "b": 1, "c": 2}, "<s>", "\x1b[31m" + "x" * 1000),
        f"knows 1 token (�[31m{'x' * 34}…) that base does not (5 tokens in all, against 4).",
    ),
}


@pytest.mark.parametrize(("tokenizer", "sentence"), DIFFERENT.values(), ids=DIFFERENT)
def test_difference_of_vocabularies_is_one_sentence(
    tmp_path: Path, base: Path, tokenizer: dict[str, Any], sentence: str
) -> None:
    assert difference(base, tuned(tmp_path, tokenizer)) == sentence


def test_tokens_that_were_added_explain_an_embedding_of_another_size(tmp_path: Path, base: Path) -> None:
    other = tuned(tmp_path, changed({"a": 0, "b": 1, "c": 2}, "<s>", "<pad>"))
    larger = {**TENSORS, EMBEDDING: np.ones((12, 4), np.float32)}
    write_model(other, larger, config=CONFIG)
    (problem,) = verdict(tmp_path, base, [other]).problems
    assert "knows 1 token (<pad>) that" in str(problem)
    assert problem.hint == "Pick a fine-tune with the base's vocabulary."


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"model": null}', '{"model": {"vocab": 3}}', '{"model": {"vocab": [3]}}', "[" * 100_000],
    ids=["empty", "a list", "cut", "no model", "a number", "numbers", "deep"],
)
def test_tokenizer_of_no_known_form_tells_nothing(tmp_path: Path, base: Path, text: str) -> None:
    other = tuned(tmp_path)
    (other / "tokenizer.json").write_text(text)
    assert vocabulary(open_folder(other, "tuned")) is None
    assert difference(base, other) == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [("vocab.json", '{"a": 0, "b": 1}'), ("vocab.txt", "a\nb\n"), ("tokenizer.json", "unigram")],
)
def test_other_forms_of_vocabularies_are_read(tmp_path: Path, name: str, content: str) -> None:
    folder = write_model(tmp_path / "m", TENSORS)
    if content == "unigram":
        content = json.dumps({"model": {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]]}})
    (folder / name).write_text(content)
    assert vocabulary(open_folder(folder, "m")) == {"a": 0, "b": 1}


def test_sentencepiece_files_are_compared_as_they_are(tmp_path: Path) -> None:
    folders = [write_model(tmp_path / name, TENSORS) for name in ("one", "two")]
    for folder in folders:
        (folder / "tokenizer.model").write_bytes(b"pieces")
    assert difference(*folders) == ""
    (folders[1] / "tokenizer.model").write_bytes(b"others")
    assert difference(*folders) == "has another tokenizer file than base."


def test_rewritten_tokenizer_is_read_anew(tmp_path: Path, base: Path) -> None:
    other = tuned(tmp_path)
    assert difference(base, other) == ""
    (other / "tokenizer.json").write_text(json.dumps(DIFFERENT["moved"][0]))
    assert difference(base, other) == DIFFERENT["moved"][1]


def test_other_ends_of_texts_and_chat_templates_are_noted(tmp_path: Path, base: Path) -> None:
    (base / "special_tokens_map.json").write_text('{"eos_token": {"content": "</s>"}, "bos_token": "<s>"}')
    other = tuned(
        tmp_path, tokenizer_config={"eos_token": "<|im_end|>", "bos_token": "<s>", "chat_template": "…"}
    )
    notes = verdict(tmp_path, base, [other]).notes
    assert notes == (
        f"{other} ends texts with <|im_end|>, {base} with </s>: the latter is kept.",
        f"{other} has a chat template, {base} has none, and the output takes over the latter's files.",
    )


def test_embeddings_that_only_one_model_shares_are_noted(tmp_path: Path) -> None:
    head = {**TENSORS, "lm_head.weight": np.ones((10, 4), np.float32)}
    base = write_model(tmp_path / "base", head, config=CONFIG)
    other = write_model(tmp_path / "tuned", TENSORS, config={**CONFIG, "tie_word_embeddings": True})
    found = verdict(tmp_path, base, [other])
    assert found.fits
    assert any("shares its input and output embeddings" in note for note in found.notes)


def test_tensors_are_told_by_group_with_their_layers() -> None:
    names = [f"model.layers.{n}.attn.{part}.bias" for n in range(12) if n != 4 for part in ("q", "k")]
    assert grouped(["lm_head.weight", *names, "model.layers.3.norm.weight"]) == (
        "lm_head.weight; attn.q.bias in layers 0–3, 5–11; attn.k.bias in layers 0–3, 5–11; and 1 more"
    )


def test_missing_tensors_of_many_layers_are_one_sentence(tmp_path: Path) -> None:
    full = {
        f"model.layers.{n}.{part}.weight": np.ones(2, np.float32) for n in range(8) for part in ("a", "b")
    }
    base = write_model(tmp_path / "base", full)
    half = {name: value for name, value in full.items() if ".b." not in name}
    other = write_model(tmp_path / "tuned", half)
    (problem,) = verdict(tmp_path, base, [other]).problems
    assert f"{other} lacks 8 tensors that {base} has: b.weight in layers 0–7." in str(problem)
