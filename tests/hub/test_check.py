"""Models of the Hub checked before a byte of weights is fetched: from headers, settings, tokenizers and cards."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from merge_core.__main__ import main
from merge_core.hub import HubClient
from merge_core.hub import small_files as small_files_module
from merge_core.preflight import Verdict, examine, examine_each, tokenizer_files
from merge_core.prepare import open_all
from merge_core.recipe import Recipe, load_recipe
from tests.checkpoints import write_model
from tests.core.command_line import write_recipe_file
from tests.hub.server import LocalHub

BASE = {f"model.layers.{n}.mlp.weight": np.ones((512, 512), np.float32) for n in range(3)}
Add = Callable[..., None]


@pytest.fixture
def add(hub: LocalHub, tmp_path: Path) -> Add:
    """add(name, …) puts a model on the Hub."""

    def put(
        name: str,
        tensors: Mapping[str, np.ndarray] = BASE,
        front: str = "license: apache-2.0",
        tokens: tuple[str, ...] = ("a", "b"),
        gated: bool = False,
        distinct: bool = True,
        **files: str,
    ) -> None:
        shutil.rmtree(tmp_path / "sources" / name, ignore_errors=True)
        hub.store.repos.pop(f"acme/{name}", None)
        own = {
            key: value + zlib.crc32(name.encode()) % 1009 for key, value in tensors.items()
        }  # no two models hold the same
        folder = write_model(tmp_path / "sources" / name, own if distinct else tensors)
        (folder / "README.md").write_text(f"---\n{front}\n---\n# {name}\n")
        vocab = {token: number for number, token in enumerate(tokens)}
        for ending, text in (files or {"tokenizer": json.dumps({"model": {"vocab": vocab}})}).items():
            (folder / f"{ending}.json").write_text(text)
        hub.add_model(f"acme/{name}", folder, gated=gated)
        hub.repo(f"acme/{name}").granted.add("ada")

    put("base")
    return put


def recipe_of(tmp_path: Path, *models: str) -> Recipe:
    return load_recipe(
        write_recipe_file(tmp_path, Path("acme/base"), [Path(f"acme/{model}") for model in models])
    )


def verdict(client: HubClient, tmp_path: Path, *models: str) -> Verdict:
    recipe = recipe_of(tmp_path, *models)
    return examine(recipe, open_all(recipe, client))


def test_ready_is_said_from_small_files_alone(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    add("code")
    found = verdict(client, tmp_path, "code")
    assert (found.problems, found.notes) == ((), ())
    assert sum(request.sent for request in hub.requests) < 250_000  # of 6 MB
    assert not Path(constants.HF_HUB_CACHE).exists()


def test_tokenizer_that_is_the_same_is_not_fetched(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    add("code")
    verdict(client, tmp_path, "code")
    assert not hub.asked("resolve/.*/tokenizer.json")


def test_small_files_are_fetched_once(hub: LocalHub, client: HubClient, add: Add, tmp_path: Path) -> None:
    add("code", tokens=("a", "b", "c"))
    first = verdict(client, tmp_path, "code")
    assert "knows 1 token (c) that acme/base does not" in first.notes[0]
    hub.forget()
    assert verdict(client, tmp_path, "code") == first
    assert not hub.asked("resolve")


def test_token_that_stands_for_another_row_is_told_before_the_download(
    client: HubClient, add: Add, tmp_path: Path
) -> None:
    add("code", tokens=("b", "a"))
    assert verdict(client, tmp_path, "code").notes == (
        "acme/code keeps 2 tokens (b, a) in other rows of its embedding, so that rows of different tokens meet. "
        "The output keeps the tokenizer of acme/base.",
    )


def test_vocabulary_file_that_is_the_same_is_not_fetched_either(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    same = json.dumps({"a": 0, "b": 1})
    add("base", vocab=same)
    add("code", vocab=same)
    verdict(client, tmp_path, "code")
    assert not hub.asked("resolve/.*/vocab.json")


def test_each_tokenizer_is_fetched_once_however_many_models_are_compared(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files_module, "KEPT_BYTES", 10)  # as if they were large
    add("base", tokens=("of this test alone",))
    names = [f"m{number}" for number in range(12)]
    for number, name in enumerate(names):
        add(name, tokens=("a", "b", str(number)))
    first = verdict(client, tmp_path, *names)
    assert verdict(client, tmp_path, *names) == first
    assert len(hub.asked("resolve/.*/tokenizer.json")) == len(names) + 1


def test_tokenizer_that_is_too_large_is_not_begun_to_be_fetched(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_files, "LARGEST", 40)
    add("code", tokens=("a", "b", "c"))
    assert verdict(client, tmp_path, "code").fits
    assert not hub.asked("acme/code/resolve/.*/tokenizer.json")


def test_equal_weights_are_told_before_the_download_by_their_hashes(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    tensors = {name: value + 1 for name, value in BASE.items()}
    add("code", tensors, distinct=False)
    add("copy", tensors, distinct=False)
    add("math")
    assert verdict(client, tmp_path, "code", "copy", "math").notes == (
        "acme/copy has the same weights as acme/code: they count twice.",
    )
    assert not Path(constants.HF_HUB_CACHE).exists()


def test_model_that_is_its_base_under_another_name_is_told_before_the_download(
    client: HubClient, add: Add, tmp_path: Path
) -> None:
    add("base", BASE, distinct=False)
    add("code", BASE, distinct=False)
    assert verdict(client, tmp_path, "code").notes == (
        "acme/code has the same weights as the base acme/base: its task vector is zero.",
    )


def test_small_file_that_cannot_be_read_stands_against_nothing(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    add("code", tokens=("a", "b", "c"))
    hub.fail("resolve/.*/(tokenizer.json|README)", status=404)
    found = verdict(client, tmp_path, "code")
    assert found.fits
    assert found.terms[-1].endswith("not every model names a licence.")


def test_small_file_is_read_once_the_hubs_trouble_has_passed(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    add("code", front="license: llama3.1", tokens=("b", "a"))
    expected = verdict(client, tmp_path, "code")
    add("math", front="license: llama3.1", tokens=("b", "a"))
    hub.fail("resolve/.*/(tokenizer.json|README)", status=503)
    verdict(client, tmp_path, "math")
    hub.forget()
    found = verdict(client, tmp_path, "math")
    assert found.notes == tuple(note.replace("code", "math") for note in expected.notes)
    assert found.terms == tuple(term.replace("code", "math") for term in expected.terms)
    assert "2 tokens (b, a)" in found.notes[0]


def test_models_are_compared_at_a_hub_that_says_nothing_of_contents(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    hub.store.tells_contents = False
    add("code", tokens=("b", "a"))
    add("math", tokens=("a", "b", "c"))
    add("same")
    found = verdict(client, tmp_path, "code", "math", "same").notes
    assert [note.partition(" (")[0] for note in found] == [
        "acme/code keeps 2 tokens",
        "acme/math knows 1 token",
    ]


def test_chat_template_is_seen_at_a_hub_that_says_nothing_of_contents(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    hub.store.tells_contents = False
    add("code", chat_template="{}", tokenizer=json.dumps({"model": {"vocab": {"a": 0, "b": 1}}}))
    checkpoints = open_all(recipe_of(tmp_path, "code"), client)
    assert [tokenizer_files.has_chat_template(c) for c in checkpoints.values()] == [False, True]


def test_terms_of_gated_and_unlicensed_models_are_said(client: HubClient, add: Add, tmp_path: Path) -> None:
    add("code", front="license: llama3.1", gated=True)
    add("math", front="tags: [x]")
    found = verdict(client, tmp_path, "code", "math")
    assert "acme/code is under llama3.1, which asks to" in found.notes[0]
    assert found.notes[0].endswith("It is gated: what was agreed to for access holds too.")
    assert found.notes[1].startswith("acme/math names no licence")
    assert found.terms[0].startswith("acme/base is under apache-2.0")
    assert "is not known" in found.terms[-1]


def test_fine_tune_of_another_base_is_noted(client: HubClient, add: Add, tmp_path: Path) -> None:
    add("code", front="license: mit\nbase_model: acme/Base")
    add("math", front="license: mit\nbase_model: other/base")
    found = verdict(client, tmp_path, "code", "math")
    assert found.notes == (
        "The card of acme/math says that it was made from other/base, not from acme/base: "
        "its task vector then holds that difference as well.",
    )


def test_model_that_does_not_fit_names_the_base_that_it_says_it_has(
    client: HubClient, add: Add, tmp_path: Path
) -> None:
    larger = {name: np.ones((512, 80), np.float32) for name in BASE}
    add("code", larger, front="license: mit\nbase_model: other/base")
    (problem,) = verdict(client, tmp_path, "code").problems
    assert "mlp.weight in layers 1–2" in problem.message
    assert problem.hint == "Its card says that it was made from other/base: pick that as the base."


def test_quantised_model_names_the_model_that_can_be_merged_instead(
    hub: LocalHub, client: HubClient, add: Add, tmp_path: Path
) -> None:
    add("code-4bit", front="base_model: acme/code")
    folder = tmp_path / "sources" / "code-4bit"
    (folder / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    hub.add_model("acme/code-4bit", folder)
    (problem,) = verdict(client, tmp_path, "code-4bit").problems
    assert problem.hint == "Its card says that it was made from acme/code: pick that instead."


def test_each_model_has_a_verdict_of_its_own(client: HubClient, add: Add, tmp_path: Path) -> None:
    add("good")
    add("bad", {name: np.ones((2, 2), np.float32) for name in BASE})
    recipe = recipe_of(tmp_path, "good", "bad")
    each = examine_each(recipe, open_all(recipe, client))
    assert [(ref.path, found.fits) for ref, found in each.items()] == [
        ("acme/good", True),
        ("acme/bad", False),
    ]


def test_check_says_for_each_model_and_for_all_what_there_is_to_know(
    hub: LocalHub,
    add: Add,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    add("good")
    add("noted", front="license: cc-by-nc-4.0")
    recipe = write_recipe_file(tmp_path, Path("acme/base"), [Path("acme/good"), Path("acme/noted")])
    assert main(["check", str(recipe)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "acme/base: the base",
        "acme/good: ready",
        "acme/noted: ready, with a note",
        "  note: acme/noted is under cc-by-nc-4.0, which allows no commercial use, neither of it nor "
        "of a merge made from it.",
    ]
    assert (
        "terms: As far as the licences' names tell, they may be combined and passed on for no commercial use."
        in lines
    )
    assert any(line.startswith("downloads: 9.4 MB of") and "that are free in" in line for line in lines)
    assert any(line.startswith("memory: at most") for line in lines)

    add("bad", {name: np.ones((2, 2), np.float32) for name in BASE})
    recipe = write_recipe_file(tmp_path, Path("acme/base"), [Path("acme/good"), Path("acme/bad")])
    assert main(["check", str(recipe)]) == 2
    stdout, stderr = capsys.readouterr()
    assert "acme/good: ready\nacme/bad: not possible\n" in stdout
    assert stderr.startswith(
        "error: model.layers.0.mlp.weight: acme/base has shape (512, 512), acme/bad has (2, 2)."
    )
