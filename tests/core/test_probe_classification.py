"""Classifiers on probes: accuracy against a plain computation, and models that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification, AutoTokenizer

from merge_core.errors import UserError
from merge_core.probe import load_probe, run_probe
from merge_core.probe.intervals import wilson
from tests import tiny_models
from tests.tiny_models import change_config, png, write_probe

LABELS = ["sandal", "sneaker", "bag"]
FEELINGS = ["good", "bad", "neither"]
PIXELS = np.random.default_rng(5).integers(0, 256, (40, 8, 8), dtype=np.uint8)
WORDS = ["The sky is blue", "a dog ran", "naïve café", "deep " * 60, "mat", "door; the cat", "東京", "x y z"]


def image_probe(path: Path, pixels: np.ndarray = PIXELS, labels: list[str] = LABELS) -> Path:
    items = [{"image": png(image), "label": labels[i % len(labels)]} for i, image in enumerate(pixels)]
    header = {"probe": "things", "kind": "image-classification", "labels": labels}
    return write_probe(path, header, items)


def text_probe(path: Path, labels: list[str] = FEELINGS) -> Path:
    items = [{"text": text, "label": labels[i % len(labels)]} for i, text in enumerate(WORDS)]
    return write_probe(path, {"probe": "words", "kind": "text-classification", "labels": labels}, items)


@pytest.fixture(scope="module")
def vit(tmp_path_factory) -> Path:
    return tiny_models.vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny_models.bert(tmp_path_factory.mktemp("bert"))


def test_image_accuracy_is_the_share_that_the_model_gets_right(vit, tmp_path):
    weights = AutoModelForImageClassification.from_pretrained(vit)
    with torch.inference_mode():
        logits = weights(torch.from_numpy(PIXELS / np.float32(127.5) - 1)[:, None]).logits
    answers = [LABELS[i] for i in logits.argmax(1)]
    assert len(set(answers)) == 3  # a model that always says the same would prove nothing
    right = sum(answer == LABELS[i % 3] for i, answer in enumerate(answers))
    [result] = run_probe(vit, [load_probe(image_probe(tmp_path / "p.jsonl"))])
    assert (result.probe, result.metric, result.n) == ("things", "accuracy", 40)
    assert (result.score, result.low, result.high) == (right / 40, *wilson(right, 40))


def test_grey_images_reach_a_model_of_coloured_ones_and_the_other_way_round(vit, tmp_path):
    coloured = np.repeat(PIXELS[..., None], 3, axis=-1)
    grey = run_probe(vit, [load_probe(image_probe(tmp_path / "grey.jsonl"))])
    assert run_probe(vit, [load_probe(image_probe(tmp_path / "coloured.jsonl", coloured))]) == grey
    three = tiny_models.vit(tmp_path / "three", channels=3)
    seen = run_probe(three, [load_probe(image_probe(tmp_path / "coloured.jsonl", coloured))])
    assert run_probe(three, [load_probe(image_probe(tmp_path / "grey.jsonl"))]) == seen


def test_images_of_any_size_are_brought_to_the_models(vit, tmp_path):
    twice = PIXELS.repeat(2, axis=1).repeat(2, axis=2)
    [result] = run_probe(vit, [load_probe(image_probe(tmp_path / "p.jsonl", twice))])
    assert result.n == 40


def test_text_accuracy_is_the_share_that_the_model_gets_right(bert, tmp_path):
    weights, spelled = (
        AutoModelForSequenceClassification.from_pretrained(bert),
        AutoTokenizer.from_pretrained(bert),
    )
    answers = []
    for text in WORDS:  # one at a time, so that padding could not hide
        inputs = spelled(text, truncation=True, max_length=40, return_tensors="pt")
        with torch.inference_mode():
            answers.append(FEELINGS[int(weights(**inputs).logits.argmax())])
    assert len(set(answers)) > 1
    right = sum(answer == FEELINGS[i % 3] for i, answer in enumerate(answers))
    [result] = run_probe(bert, [load_probe(text_probe(tmp_path / "p.jsonl"))])
    assert (result.metric, result.n) == ("accuracy", len(WORDS))
    assert (result.score, result.low, result.high) == (right / 8, *wilson(right, 8))


def test_a_text_classifier_without_a_padding_token_answers_one_at_a_time(tmp_path):
    folder = tiny_models.gpt2(tmp_path / "gpt2")
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config.from_pretrained(folder, id2label=dict(enumerate(FEELINGS)))
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    [result] = run_probe(folder, [load_probe(text_probe(tmp_path / "p.jsonl"))])
    assert result.n == len(WORDS)


def test_results_come_in_the_probes_order_whatever_their_number(vit, tmp_path):
    first = load_probe(image_probe(tmp_path / "a.jsonl"))
    second = load_probe(image_probe(tmp_path / "b.jsonl", PIXELS[:7]))
    assert [r.n for r in run_probe(vit, [second, first, second])] == [7, 40, 7]
    assert run_probe(vit, []) == []


def test_labels_that_the_model_does_not_know_are_named(vit, bert, tmp_path):
    for model, probe in (
        (vit, image_probe(tmp_path / "i.jsonl", labels=["sandal", "boot"])),
        (bert, text_probe(tmp_path / "t.jsonl", labels=["good", "boot"])),
    ):
        with pytest.raises(UserError, match="asks for the class boot, and the model knows"):
            run_probe(model, [load_probe(probe)])


def test_a_model_with_another_head_is_refused_by_what_it_is(vit, bert, tmp_path):
    images, texts = (
        load_probe(image_probe(tmp_path / "i.jsonl")),
        load_probe(text_probe(tmp_path / "t.jsonl")),
    )
    prose = load_probe(
        write_probe(
            tmp_path / "prose.jsonl",
            {"probe": "prose", "kind": "causal-language-modelling"},
            [{"text": "a"}, {"text": "b"}],
        )
    )
    gpt2 = tiny_models.gpt2(tmp_path / "gpt2")
    for model, probe, says in (
        (
            bert,
            images,
            "does not fit the probe things: it asks for an image classifier, and this is BertForSeq",
        ),
        (vit, texts, "asks for a text classifier, and this is ViTForImageClassification"),
        (bert, prose, "asks for a causal language model, and this is BertForSequenceClassification"),
        (gpt2, texts, "asks for a text classifier, and this is GPT2LMHeadModel"),
    ):
        with pytest.raises(UserError, match=says):
            run_probe(model, [probe])


def test_all_probes_are_checked_before_one_is_run(vit, tmp_path):
    fits = load_probe(image_probe(tmp_path / "i.jsonl"))
    misfit = load_probe(image_probe(tmp_path / "j.jsonl", labels=["sandal", "boot"]))
    told = []
    with pytest.raises(UserError):
        run_probe(vit, [fits, misfit], told.append)
    assert told == []


def test_a_head_that_was_never_trained_is_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tiny_models.vit(tmp_path / "vit")
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks weights that an image classifier needs: classifier\.weight"):
        run_probe(folder, [load_probe(image_probe(tmp_path / "p.jsonl"))])


def test_weights_of_another_shape_are_refused(tmp_path):
    folder = change_config(tiny_models.vit(tmp_path / "vit"), hidden_size=24)
    with pytest.raises(UserError, match="vit: transformers cannot open its weights"):
        run_probe(folder, [load_probe(image_probe(tmp_path / "p.jsonl"))])


def test_preprocessing_that_would_make_images_huge_is_refused(tmp_path):
    folder = tiny_models.vit(tmp_path / "vit")
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "size": {"height": 200000, "width": 200000}}'
    )
    with pytest.raises(UserError, match="expected sizes from 1 to 2048 pixels"):
        run_probe(folder, [load_probe(image_probe(tmp_path / "p.jsonl"))])


def test_preprocessing_that_does_not_fit_the_model_is_the_users_error(tmp_path):
    folder = tiny_models.vit(tmp_path / "vit")
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 12},'
        ' "image_mean": [0.5], "image_std": [0.5]}'
    )
    with pytest.raises(UserError, match="vit fails at the probe things: Input image size"):
        run_probe(folder, [load_probe(image_probe(tmp_path / "p.jsonl"))])


@pytest.mark.parametrize(
    ("make", "lost", "says"),
    [
        ("vit", "preprocessor_config.json", "cannot open its preprocessing"),
        ("bert", "tokenizer*", "bert lacks its tokenizer"),
    ],
)
def test_a_model_without_its_tokenizer_or_preprocessing_is_refused(tmp_path, make, lost, says):
    folder = getattr(tiny_models, make)(tmp_path / make)
    for path in folder.glob(lost):
        path.unlink()
    probe = {"vit": image_probe, "bert": text_probe}[make](tmp_path / "p.jsonl")
    with pytest.raises(UserError, match=says):
        run_probe(folder, [load_probe(probe)])
