"""Models on the Hub are merged without being downloaded: the same bytes, within the memory, each weight read once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from merge_core.engine import merge
from merge_core.engine import traffic as traffic_module
from merge_core.engine.result import MergeResult
from merge_core.engine.traffic import traffic
from merge_core.hub import HubClient
from merge_core.interference import inspect
from merge_core.plan import make_plan
from merge_core.preflight import examine
from merge_core.prepare import open_all, prepare
from merge_core.recipe import Recipe, read_recipe
from merge_core.streaming import accelerator
from tests.checkpoints import write_model
from tests.core.test_lora import BASE, factors, write_adapter
from tests.hub.family import CONFIG, NAMES, SHAPES, contents, cut_small, put_on, recipe, weights_of
from tests.hub.server import LocalHub

METHODS = [
    ("ties", {"density": 0.3}),
    ("ties", {"density": 0.3, "trim_scope": "model"}),
    ("task_arithmetic", {"lambda": 0.7}),
    ("dare_ties", {"density": 0.6, "seed": 3}),
    ("linear", {}),
]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)


def merge_both_ways(client: HubClient, folder: Path, asked: Recipe, **limits: int) -> MergeResult:
    """Streamed, then from downloaded models: the same files. What the streamed merge says of itself."""
    streamed = merge(prepare(asked, client, stream=True), folder / "streamed", **limits)
    assert not list((folder / "cache").rglob("model*.safetensors"))
    whole = merge(prepare(asked, client), folder / "whole")
    assert contents(folder / "streamed") == contents(folder / "whole")
    assert (whole.streamed, whole.checked) == (0, (0, 0))
    return streamed


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("method", "parameters"), METHODS)
def test_streamed_merge_gives_the_bytes_of_the_downloaded_one_and_reads_and_checks_each_file_once(
    hub: LocalHub, client: HubClient, tmp_path: Path, method: str, parameters: dict[str, object], dtype: str
) -> None:
    put_on(hub, tmp_path / "models", dtype)
    made = merge_both_ways(client, tmp_path, recipe(method, **parameters))
    files = weights_of(hub, *NAMES[method == "linear" :])
    assert made.streamed == sum(files.values())
    assert made.checked == (len(files), len(files))


def test_models_of_repositories_whose_commits_have_one_name_are_told_apart(
    hub: LocalHub, client: HubClient, tmp_path: Path
) -> None:
    """A Hub of one's own may count commits in each repository."""
    put_on(hub, tmp_path / "models")
    merge(prepare(recipe(density=0.3), client, stream=True), tmp_path / "expected")
    for repo in hub.store.repos.values():
        repo.commits = {"1" * 40: replace(repo.head, sha="1" * 40, parent=None)}
        repo.refs["main"] = "1" * 40
    assert examine(recipe(), open_all(recipe(), client)).notes == ()
    merge_both_ways(client, tmp_path, recipe(density=0.3))
    expected, found = (load_file(tmp_path / name / "model.safetensors") for name in ("expected", "streamed"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    "parameters", [{}, {"trim_scope": "model"}, {"dialect": "paper"}, {"elect": "normmass"}, {"lambda": 2.0}]
)
def test_what_does_not_fit_the_memory_together_is_read_again_and_gives_the_same_bytes(
    hub: LocalHub,
    client: HubClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parameters: dict[str, object],
    dtype: str,
) -> None:
    monkeypatch.setattr(traffic_module, "left_of", lambda *_: 150_000)
    put_on(hub, tmp_path / "models", dtype)
    made = merge_both_ways(client, tmp_path, recipe(density=0.3, **parameters))
    files = weights_of(hub, *NAMES)
    assert made.streamed > 1.05 * sum(files.values())
    assert made.checked == (len(files), len(files))


def test_memory_for_not_even_one_request_is_enough(
    hub: LocalHub, client: HubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_module, "left_of", lambda *_: 1)
    put_on(hub, tmp_path / "models")
    merge_both_ways(client, tmp_path, recipe(density=0.3))


@pytest.mark.parametrize("threads", [1, 5])
def test_threads_and_memory_change_no_byte(
    hub: LocalHub, client: HubClient, tmp_path: Path, threads: int
) -> None:
    put_on(hub, tmp_path / "models")
    merge_both_ways(client, tmp_path, recipe(density=0.3), threads=threads, memory=threads * 30_000_000)


def other(
    hub: LocalHub, folder: Path, name: str = "code", shards: int = 1, single: str = "", **more: torch.Tensor
) -> None:
    """Another `acme/{name}`, cut into files at other places.

    Args:
        single: its tensors of which the name holds this are in float32, and come first in the file.
        more: tensors that nobody else has, by the start of their name.
    """
    rng = np.random.default_rng(6)
    weights = {key: torch.from_numpy(rng.normal(size=shape)) for key, shape in SHAPES.items()}
    weights |= {f"{start}.weight": tensor for start, tensor in more.items()}
    made = write_model(folder, weights, dtype="bfloat16", shards=shards, config=CONFIG)
    if single:
        mixed = {n: t.to(torch.float32 if single in n else torch.bfloat16) for n, t in weights.items()}
        save_file(mixed, made / "model.safetensors", metadata={"format": "pt"})
    hub.repo(f"acme/{name}").head.files.clear()
    hub.add_model(f"acme/{name}", made)


@pytest.mark.parametrize("room", [None, 150_000])
@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("shards", [1, 3])
def test_models_that_are_cut_into_files_at_other_places_are_each_read_in_their_order_and_checked(
    hub: LocalHub,
    client: HubClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shards: int,
    scope: str,
    room: int | None,
) -> None:
    if room is not None:
        monkeypatch.setattr(traffic_module, "left_of", lambda *_: room)
    put_on(hub, tmp_path / "models")
    other(hub, tmp_path / "other", shards=shards)
    made = merge_both_ways(client, tmp_path, recipe(density=0.3, trim_scope=scope))
    files = weights_of(hub, *NAMES)
    assert made.checked == (len(files), len(files))


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_models_of_two_dtypes_which_their_files_are_sorted_by_are_each_read_in_their_order_and_checked(
    hub: LocalHub, client: HubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    monkeypatch.setattr(traffic_module, "left_of", lambda *_: 150_000)
    put_on(hub, tmp_path / "models")
    for name in NAMES:
        other(hub, tmp_path / f"other {name}", name, single="norm")
    made = merge_both_ways(client, tmp_path, recipe(density=0.3, trim_scope=scope))
    assert made.checked == (4, 4)


def test_file_whose_order_contradicts_the_others_is_merged_all_the_same_and_said_not_to_be_checked(
    hub: LocalHub, client: HubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_module, "left_of", lambda *_: 150_000)  # else it waits in memory for its turn
    put_on(hub, tmp_path / "models")
    hub.repo("acme/code").head.files.clear()
    other(hub, tmp_path / "other", single="layers")
    made = merge_both_ways(client, tmp_path, recipe(density=0.3))
    assert made.checked == (6, 7)


def test_file_of_which_much_is_not_read_is_said_not_to_be_checked(
    hub: LocalHub, client: HubClient, tmp_path: Path
) -> None:
    put_on(hub, tmp_path / "models")
    other(hub, tmp_path / "other", extra=torch.ones(4096, 1300))
    made = merge_both_ways(client, tmp_path, recipe(density=0.3))
    assert made.checked == (6, 7)


def test_adapters_are_downloaded_and_their_base_is_read_once_for_all_of_them(
    hub: LocalHub, client: HubClient, tmp_path: Path
) -> None:
    hub.add_model("acme/base", write_model(tmp_path / "base", BASE))
    for number in range(2):
        hub.add_model(f"acme/lora-{number}", write_adapter(tmp_path / f"lora-{number}", factors(seed=number)))
    models = [{"model": f"acme/base+acme/lora-{n}", "parameters": {"weight": 1.0}} for n in range(2)]
    document = {"merge_method": "ties", "base_model": "acme/base", "models": models}
    made = merge_both_ways(client, tmp_path, read_recipe(yaml.safe_dump(document)))
    assert list((tmp_path / "cache").rglob("adapter_model.safetensors"))
    assert made.streamed == sum(weights_of(hub, "base").values())


def test_models_that_are_on_this_machine_already_are_read_here(
    hub: LocalHub, client: HubClient, tmp_path: Path
) -> None:
    put_on(hub, tmp_path / "models")
    prepare(recipe(density=0.3), client)
    hub.forget()
    assert merge(prepare(recipe(density=0.3), client, stream=True), tmp_path / "out").streamed == 0
    assert not hub.asked("GET .*safetensors")


@pytest.mark.parametrize("memory", [1 << 30, 1])
@pytest.mark.parametrize(("method", "parameters"), METHODS)
def test_what_will_be_read_is_said_beforehand(
    hub: LocalHub,
    client: HubClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    parameters: dict[str, object],
    memory: int,
) -> None:
    if memory == 1:
        monkeypatch.setattr(traffic_module, "left_of", lambda *_: 150_000)
    put_on(hub, tmp_path / "models")
    asked = recipe(method, **parameters)
    said = traffic(make_plan(asked, open_all(asked, client)), 1 << 30)
    read = merge(prepare(asked, client, stream=True), tmp_path / "out").streamed
    headers = 20_000
    assert said.likely <= said.most
    assert said.likely <= read + headers
    assert read <= said.most + headers


def test_what_an_earlier_merge_learned_costs_no_further_reading(
    hub: LocalHub, client: HubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known thresholds are of use to who reads a model twice; a streamed merge guesses, and reads it once."""
    monkeypatch.setattr(traffic_module, "left_of", lambda *_: 150_000)
    put_on(hub, tmp_path / "models")
    plan = prepare(recipe(density=0.3, trim_scope="model"), client, stream=True)
    first = merge(plan, tmp_path / "first", known=tmp_path / "known")
    second = merge(plan, tmp_path / "second", known=tmp_path / "known")
    assert second.streamed == first.streamed
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


@pytest.mark.parametrize("room", [1 << 24, 400_000])
def test_another_device_reads_the_hub_as_well(
    hub: LocalHub, client: HubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(traffic_module, "left_of", lambda *_: room)
    monkeypatch.setattr(accelerator, "CHUNK", 1 << 14)
    if not torch.cuda.is_available():  # the processor stands in for it: the code is the same
        monkeypatch.setattr(accelerator, "torch_device", lambda name: torch.device("cpu"))
    put_on(hub, tmp_path / "models")
    asked = recipe(density=0.3)
    merge(prepare(asked, client, stream=True), tmp_path / "streamed", device="cuda")
    merge(prepare(asked, client), tmp_path / "whole", device="cuda")
    assert contents(tmp_path / "streamed") == contents(tmp_path / "whole")


@pytest.mark.parametrize("room", [1 << 24, 400_000])
@pytest.mark.parametrize("parameters", [{}, {"trim_scope": "model"}, {"elect": "normmass"}])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_inspection_of_models_on_the_hub_counts_what_that_of_downloaded_ones_does(
    hub: LocalHub,
    client: HubClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parameters: dict[str, object],
    dtype: str,
    room: int,
) -> None:
    monkeypatch.setattr(traffic_module, "left_of", lambda *_: room)
    put_on(hub, tmp_path / "models", dtype)
    asked = recipe(density=0.3, **parameters)
    streamed = inspect(prepare(asked, client, stream=True), elections=True)
    assert not list((tmp_path / "cache").rglob("model*.safetensors"))
    assert streamed == inspect(prepare(asked, client), elections=True)
