"""Language models on probes: bits per byte and multiple choice against plain computations of our own."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from merge_core.errors import UserError
from merge_core.probe import load_probe, run_probe
from tests import tiny_models
from tests.tiny_models import write_probe

TEXTS = [
    "The sky is blue.",
    "naïve café – 東京",
    "A dog ran to the mat, and the cat sat at the door; the sea is deep. " * 6,
    "x",
]
QUESTIONS = [
    {"context": "The sky is", "choices": [" blue.", " deep and the sea is blue.", " a cat"], "answer": 0},
    {"context": "", "choices": ["A cat", "The sky", "dog"], "answer": 2},
    # Tokens span the seam here: "th" + "e" is one token when written together.
    {"context": "A cat sat on th", "choices": ["e mat", "at mat", "ing"], "answer": 1},
    {"context": "The sea is ", "choices": ["deep", "blue"], "answer": 1},
    {"context": "naïve", "choices": [" café", " 東京東京東京", "!"], "answer": 0},
]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request, tmp_path_factory) -> Path:
    return getattr(tiny_models, request.param)(tmp_path_factory.mktemp(request.param))


def opened(folder: Path):
    """(model in float64, tokenizer, the token that opens a text)"""
    spelled = AutoTokenizer.from_pretrained(folder)
    first = spelled.eos_token_id if spelled.bos_token_id is None else spelled.bos_token_id
    return AutoModelForCausalLM.from_pretrained(folder).double().eval(), spelled, first


@torch.inference_mode()
def next_token_logs(weights, ids: list[int]) -> list[float]:
    """ln p of every token but the first, one call of the model for each."""
    logs = []
    for at in range(1, len(ids)):
        logits = weights(torch.tensor([ids[:at]])).logits[0, -1]
        logs.append(float(logits.log_softmax(0)[ids[at]]))
    return logs


def nats(weights, spelled, first: int, text: str, window: int) -> float:
    """−ln p of a text, in pieces that overlap by one token."""
    ids = [first, *spelled(text, add_special_tokens=False)["input_ids"]]
    total = 0.0
    while len(ids) > 1:
        total -= sum(next_token_logs(weights, ids[:window]))
        ids = ids[window - 1 :]
    return total


def test_bits_per_byte_agree_with_one_token_at_a_time(model, tmp_path):
    weights, spelled, first = opened(model)
    probe = write_probe(
        tmp_path / "prose.jsonl",
        {"probe": "prose", "kind": "causal-language-modelling"},
        [{"text": text} for text in TEXTS],
    )
    [result] = run_probe(model, [load_probe(probe)])
    bits = np.array([nats(weights, spelled, first, text, 64) / math.log(2) for text in TEXTS])
    size = np.array([len(text.encode()) for text in TEXTS])
    assert (result.metric, result.n) == ("bits per byte", len(TEXTS))
    assert result.score == pytest.approx(bits.sum() / size.sum(), rel=1e-5)
    residual = bits - result.score * size
    half = 1.959964 * math.sqrt(len(TEXTS) * residual.var(ddof=1)) / size.sum()
    assert result.high - result.score == pytest.approx(half, rel=1e-3)
    assert result.low == pytest.approx(max(0, result.score - half), rel=1e-3)


def test_bits_per_byte_of_a_model_that_knows_nothing_are_those_of_its_vocabulary(tmp_path):
    folder = tiny_models.gpt2(tmp_path / "blank")
    weights = AutoModelForCausalLM.from_pretrained(folder)
    for parameter in weights.parameters():
        torch.nn.init.zeros_(parameter)
    weights.save_pretrained(folder)
    spelled = AutoTokenizer.from_pretrained(folder)
    probe = write_probe(
        tmp_path / "prose.jsonl",
        {"probe": "prose", "kind": "causal-language-modelling"},
        [{"text": text} for text in TEXTS],
    )
    [result] = run_probe(folder, [load_probe(probe)])
    tokens = sum(len(spelled(text, add_special_tokens=False)["input_ids"]) for text in TEXTS)
    expected = tokens * math.log2(len(spelled)) / sum(len(text.encode()) for text in TEXTS)
    assert result.score == pytest.approx(expected, rel=1e-6)


def brute_force(weights, spelled, first: int, question: dict) -> tuple[list[float], list[float]]:
    """ln p of every choice given what all of them and the context have in common; plain and per byte."""
    whole = [
        [first, *spelled(question["context"] + choice, add_special_tokens=False)["input_ids"]]
        for choice in question["choices"]
    ]
    context = [first, *spelled(question["context"], add_special_tokens=False)["input_ids"]]
    common = 0
    while all(len(ids) > common + 1 for ids in whole) and len(context) > common:
        if len({ids[common] for ids in [*whole, context]}) > 1:
            break
        common += 1
    plain = [sum(next_token_logs(weights, ids)[common - 1 :]) for ids in whole]
    return plain, [p / len(c.encode()) for p, c in zip(plain, question["choices"], strict=True)]


def test_multiple_choice_agrees_with_brute_force_on_every_question(model, tmp_path):
    weights, spelled, first = opened(model)
    for question in QUESTIONS:
        found = brute_force(weights, spelled, first, question)
        for answer in range(len(question["choices"])):
            probe = write_probe(
                tmp_path / "questions.jsonl",
                {"probe": "questions", "kind": "multiple-choice"},
                [{**question, "answer": answer}],
            )
            plain, per_byte = run_probe(model, [load_probe(probe)])
            assert (plain.metric, per_byte.metric) == ("accuracy", "accuracy per byte")
            assert plain.score == (int(np.argmax(found[0])) == answer)
            assert per_byte.score == (int(np.argmax(found[1])) == answer)


def test_multiple_choice_counts_over_all_questions(model, tmp_path):
    weights, spelled, first = opened(model)
    probe = write_probe(
        tmp_path / "questions.jsonl", {"probe": "questions", "kind": "multiple-choice"}, QUESTIONS
    )
    right = [0, 0]
    for question in QUESTIONS:
        for place, scores in enumerate(brute_force(weights, spelled, first, question)):
            right[place] += int(np.argmax(scores)) == question["answer"]
    assert [r.score * len(QUESTIONS) for r in run_probe(model, [load_probe(probe)])] == right


def test_a_question_longer_than_the_window_loses_its_beginning(tmp_path):
    folder = tiny_models.gpt2(tmp_path / "short", positions=16)
    weights, spelled, first = opened(folder)
    question = {"context": "The sky is blue and " * 9, "choices": ["deep", "a dog ran"], "answer": 0}
    probe = write_probe(tmp_path / "q.jsonl", {"probe": "q", "kind": "multiple-choice"}, [question])
    score = run_probe(folder, [load_probe(probe)])[0].score
    whole = [
        [first, *spelled(question["context"] + choice, add_special_tokens=False)["input_ids"]]
        for choice in question["choices"]
    ]
    cut = max(map(len, whole)) - 16
    shared = next(i for i, (a, b) in enumerate(zip(*whole, strict=False)) if a != b)
    logs = [sum(next_token_logs(weights, ids[cut:])[shared - cut - 1 :]) for ids in whole]
    assert score == (int(np.argmax(logs)) == 0)


def test_a_choice_longer_than_the_window_is_refused(tmp_path):
    folder = tiny_models.gpt2(tmp_path / "short", positions=16)
    question = {"context": "The sky", "choices": ["is blue " * 20, "no"], "answer": 0}
    probe = write_probe(tmp_path / "q.jsonl", {"probe": "q", "kind": "multiple-choice"}, [question])
    with pytest.raises(UserError, match="a choice alone is longer than 15 tokens"):
        run_probe(folder, [load_probe(probe)])


def test_a_model_whose_tokenizer_opens_no_text_is_refused(tmp_path):
    folder = tiny_models.gpt2(tmp_path / "mute", pad_token="<pad>")
    probe = write_probe(
        tmp_path / "prose.jsonl",
        {"probe": "prose", "kind": "causal-language-modelling"},
        [{"text": "a"}, {"text": "b"}],
    )
    with pytest.raises(UserError, match="no token for the beginning or the end of a text"):
        run_probe(folder, [load_probe(probe)])


def test_weights_that_are_not_finite_are_named_as_the_cause(tmp_path):
    folder = tiny_models.gpt2(tmp_path / "broken")
    weights = AutoModelForCausalLM.from_pretrained(folder)
    torch.nn.init.constant_(weights.transformer.ln_f.weight, float("nan"))
    weights.save_pretrained(folder)
    probe = write_probe(tmp_path / "q.jsonl", {"probe": "q", "kind": "multiple-choice"}, QUESTIONS)
    with pytest.raises(UserError, match="values that are not finite"):
        run_probe(folder, [load_probe(probe)])


def test_a_token_that_the_model_lacks_is_the_users_error(tmp_path):
    folder = tiny_models.gpt2(tmp_path / "grown")
    path = folder / "tokenizer.json"
    spelled = json.loads(path.read_text())
    spelled["added_tokens"].append({**spelled["added_tokens"][0], "id": 5000, "content": "zebra"})
    path.write_text(json.dumps(spelled))
    probe = write_probe(
        tmp_path / "prose.jsonl",
        {"probe": "prose", "kind": "causal-language-modelling"},
        [{"text": "a zebra"}, {"text": "b"}],
    )
    with pytest.raises(UserError, match="grown fails at the probe prose"):
        run_probe(folder, [load_probe(probe)])
