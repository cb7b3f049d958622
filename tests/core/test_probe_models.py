"""Measuring as work: progress, stopping, and models that nobody should trust."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from merge_core.errors import UserError
from merge_core.probe import ProbeSet, load_probe, run_probe
from merge_core.progress import Cancelled
from tests import tiny_models
from tests.tiny_models import change_config, write_probe


@pytest.fixture(scope="module")
def prose(tmp_path_factory) -> ProbeSet:
    items = [{"text": f"The sky is blue and the sea is {'very ' * (i % 7)}deep."} for i in range(70)]
    header = {"probe": "prose", "kind": "causal-language-modelling"}
    return load_probe(write_probe(tmp_path_factory.mktemp("probe") / "prose.jsonl", header, items))


@pytest.fixture
def model(tmp_path) -> Path:
    return tiny_models.gpt2(tmp_path / "model")


def outcome(model: Path, probe: ProbeSet) -> str:
    """ "scores", or what a user is told instead."""
    try:
        return "scores" if len(run_probe(model, [probe])) == 1 else "nothing"
    except UserError as error:
        return str(error)


def test_progress_counts_items_over_all_probes_and_never_falls(model, prose):
    told = []
    run_probe(model, [prose, prose], told.append)
    assert [p.total for p in told] == [140] * len(told)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert (told[0].done, told[-1].done) == (0, 140)
    assert any(0 < p.done < 70 for p in told)
    assert "prose: 70 of 70 items" in {p.message for p in told}


def test_the_same_model_always_scores_the_same_to_the_last_bit(model, prose):
    assert run_probe(model, [prose]) == run_probe(model, [prose])


def test_measuring_leaves_the_number_of_threads_as_it_was(model, prose):
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            seen = []
            run_probe(model, [prose], lambda _, seen=seen: seen.append(torch.get_num_threads()))
            assert set(seen) == {1}  # a model this small is quicker so
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_it_stops_before_it_begins(model, prose):
    told = []
    with pytest.raises(Cancelled):
        run_probe(model, [prose], told.append, lambda: True)
    assert told == []


def test_it_stops_inside_a_batch_that_takes_long(model, prose):
    """A layer that sleeps stands for a large model, whose single batch takes longer than one waits for."""
    wish = threading.Event()
    layers = []

    def told(progress):
        # The model is there once the first probe has begun: make its layers slow, and wish to stop soon after.
        threading.Timer(0.3, wish.set).start()

    original = torch.nn.LayerNorm.forward

    def slow(self, x):
        layers.append(time.monotonic())
        time.sleep(0.2)
        return original(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.LayerNorm, "forward", slow)
        with pytest.raises(Cancelled):
            run_probe(model, [prose], told, wish.is_set)
    assert 1 <= len(layers) < 5  # five normalisations make one batch


def test_code_that_comes_with_a_model_is_not_run(model, prose, tmp_path):
    trap = tmp_path / "ran"
    (model / "modeling_own.py").write_text(
        f"open({str(trap)!r}, 'w')\nclass Own: pass\nclass OwnConfig: pass\n"
    )
    own = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    change_config(model, auto_map=own)
    assert len(run_probe(model, [prose])) == 1  # transformers knows GPT-2 itself
    change_config(model, model_type="own", architectures=["Own"])
    with pytest.raises(UserError, match="comes with Python code of its own, which Tiebreak does not run"):
        run_probe(model, [prose])
    assert not trap.exists()


def test_a_tokenizer_with_code_of_its_own_is_not_run(model, prose, tmp_path):
    trap = tmp_path / "ran"
    (model / "tokenization_own.py").write_text(f"open({str(trap)!r}, 'w')\nclass Own: pass\n")
    path = model / "tokenizer_config.json"
    settings = {**json.loads(path.read_text()), "auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}}
    path.write_text(json.dumps({**settings, "tokenizer_class": "Own"}))
    outcome(model, prose)  # transformers may read tokenizer.json by itself, or give up
    assert not trap.exists()


def test_attention_code_in_somebodys_repository_is_not_asked_for(model, prose):
    expected = run_probe(model, [prose])
    change_config(model, attn_implementation="stranger/kernel", experts_implementation="stranger/kernel")
    assert run_probe(model, [prose]) == expected


def test_pickled_weights_are_not_opened(model, prose, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (model / "model.safetensors").unlink()
    torch.save(Trap(), model / "pytorch_model.bin")
    with pytest.raises(UserError, match="a pickle, which can run code"):
        run_probe(model, [prose])
    assert not (tmp_path / "ran").exists()


def test_what_lies_beside_a_model_is_not_part_of_it(model, prose):
    """Transformers would apply an adapter, where PEFT is installed, and read the half-written file."""
    expected = run_probe(model, [prose])
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')
    (model / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert run_probe(model, [prose]) == expected


def test_weights_in_a_file_of_another_name_are_found(model, prose):
    expected = run_probe(model, [prose])
    (model / "model.safetensors").rename(model / "exported.safetensors")
    assert run_probe(model, [prose]) == expected


def test_sharded_weights_are_found(tmp_path, model, prose):
    expected = run_probe(model, [prose])
    AutoModelForCausalLM.from_pretrained(model).save_pretrained(tmp_path / "sharded", max_shard_size="10KB")
    for path in model.glob("tokenizer*"):
        (tmp_path / "sharded" / path.name).write_bytes(path.read_bytes())
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert run_probe(tmp_path / "sharded", [prose]) == expected


def test_errors_name_the_model_and_no_folder_of_ours(model, prose):
    change_config(model, n_head=3)
    with pytest.raises(UserError) as refused:
        run_probe(model, [prose])
    assert "tiebreak-" not in str(refused.value)
    assert "/tmp" not in str(refused.value)


def test_a_folder_that_is_no_model_is_the_users_error(tmp_path, model, prose):
    with pytest.raises(UserError, match="There is no folder"):
        run_probe(tmp_path / "nowhere", [prose])
    (model / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(UserError, match="transformers cannot open its configuration"):
        run_probe(model, [prose])
    (model / "config.json").unlink()
    with pytest.raises(UserError, match="transformers cannot open its configuration"):
        run_probe(model, [prose])


@pytest.mark.parametrize(
    "changes",
    [
        {"n_head": 3},
        {"n_layer": -1},
        {"n_embd": "16"},
        {"vocab_size": 10**15},
        {"activation_function": "evil"},
        {"architectures": "GPT2LMHeadModel"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"dtype": "evil"},
        {"n_positions": None},
    ],
)
def test_a_configuration_that_lies_is_the_users_error_or_does_no_harm(model, prose, changes):
    change_config(model, **changes)
    said = outcome(model, prose)
    assert said == "scores" or (said.startswith("model") and len(said) < 500)


def test_no_address_is_asked_for_anything(model, prose, monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(run_probe(model, [prose])) == 1


def test_sixteen_bit_weights_are_measured_in_float32(tmp_path, model, prose):
    wide = AutoModelForCausalLM.from_pretrained(model)
    half = wide.to(torch.bfloat16)
    half.save_pretrained(model)
    stored = run_probe(model, [prose])
    half.float().save_pretrained(tmp_path / "again")
    for path in model.glob("tokenizer*"):
        (tmp_path / "again" / path.name).write_bytes(path.read_bytes())
    assert run_probe(tmp_path / "again", [prose]) == stored
