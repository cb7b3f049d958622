"""A merge from the page whose models have no room on the disk: the worker reads them from the Hub, if it may."""

from __future__ import annotations

import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from components.runs.results import shown
from components.runs.start import readiness
from components.tuning.editing import Draft
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.engine import merge
from merge_core.errors import UserError
from merge_core.hub import HubClient, ranges
from merge_core.hub.session import Patience
from merge_core.jobs import Job, JobStore
from merge_core.jobs.worker import attend
from merge_core.prepare import open_all, pinned, prepare
from merge_core.prepare.needs import SPARE
from merge_core.recipe import ModelRef, Recipe, read_recipe, write_recipe
from tests.hub.family import NAMES, contents, put_on, recipe, weights_of
from tests.hub.server import LocalHub
from tests.tiny_models import bert, write_probe

Usage = namedtuple("Usage", "total used free")
OUTPUT = 500_000  # bytes, more than the merge of `recipe()` takes


@pytest.fixture(autouse=True)
def signed_in_machine(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker asks the Hub in the environment's name."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, SPARE + OUTPUT))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(JobStore(tmp_path / "home"), on_space=False)


def run(hub: LocalHub, workspace: Workspace, who: Visitor, asked: Recipe, **options: object) -> Job:
    """What becomes of a merge that a visitor asks for; the Hub then remembers what the worker asked of it."""
    job = who.submit(workspace, "merge", "me", asked, options)
    return work(workspace, job, hub.forget)


def work(workspace: Workspace, job: Job, begins: Callable[[], None] = lambda: None) -> Job:
    """What the worker makes of a job."""
    deadline = time.monotonic() + 30
    while (claimed := workspace.store.claim("worker")) is None:  # small files may be fetched here first
        assert time.monotonic() < deadline
    begins()
    attend(workspace.store, claimed, "worker")
    found = workspace.store.get(job.id, "me")
    assert found is not None
    return found


@pytest.mark.usefixtures("small_disk")
def test_worker_reads_models_from_the_hub_that_have_no_room(
    hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on(hub, tmp_path / "models")
    job = run(hub, workspace, Visitor(client, ""), recipe(density=0.3))
    assert (job.state, job.error) == ("done", None)
    assert job.options["stream"] is True
    result = job.result or {}
    assert result["streamed"] == sum(weights_of(hub, *NAMES).values())
    assert (result["report"], result["scores"]) == (None, [])
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    monkeypatch.undo()
    made = contents(workspace.store.root / str(result["model"]))
    merge(prepare(read_recipe(job.recipe), client, stream=True), tmp_path / "again")
    again = contents(tmp_path / "again")
    assert {name: made[name] for name in again} == again


@pytest.mark.usefixtures("small_disk")
def test_models_that_have_no_room_are_compared_and_the_merge_then_shows_that_on_its_card(
    hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path
) -> None:
    put_on(hub, tmp_path / "models")
    who = Visitor(client, "")
    compared = work(workspace, who.submit(workspace, "inspect", "me", recipe(density=0.3), {}))
    assert (compared.state, compared.error) == ("done", None)
    merged = run(hub, workspace, who, recipe(density=0.3))
    assert (merged.result or {})["report"] == (compared.result or {})["report"]
    read = [r for r in hub.asked("GET /storage") if r.sent]
    assert sum(r.sent for r in read) == sum(weights_of(hub, *NAMES).values())
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.usefixtures("small_disk")
def test_page_says_what_will_be_read_and_that_the_merge_alone_is_measured(
    hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path
) -> None:
    put_on(hub, tmp_path / "models")
    draft = Draft.of(recipe(density=0.3))
    found = dict(workspace.open(draft.recipe, client))
    ready, _, beneath, _ = readiness(draft, found, 2, "", client, tmp_path / "home" / "runs")
    assert ready
    assert " ".join(beneath.split()) == (
        "reads 1.9 MB from the Hub while it merges: the disk has no room to download it · writes 474 kB · "
        "measures the merge alone on 2 probe sets: its models stay on the Hub"
    )


def test_page_says_what_will_be_downloaded_where_there_is_room(
    hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path
) -> None:
    put_on(hub, tmp_path / "models")
    draft = Draft.of(recipe(density=0.3))
    found = dict(workspace.open(draft.recipe, client))
    beneath = readiness(draft, found, 2, "", client, tmp_path / "home" / "runs")[2]
    assert " ".join(beneath.split()) == "downloads 1.9 MB · writes 474 kB · measures 5 models on 2 probe sets"


def test_merge_that_has_no_room_itself_is_refused(
    hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on(hub, tmp_path / "models")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, SPARE + OUTPUT // 2))
    with pytest.raises(UserError, match="No space on the disk"):
        Visitor(client, "").submit(workspace, "merge", "me", recipe(density=0.3), {})
    assert not workspace.store.list("me")


@pytest.fixture
def moods(hub: LocalHub, tmp_path: Path) -> dict[str, object]:
    """`acme/base`, `acme/code` and `acme/math` on the Hub, which can be measured, and options that ask for it."""
    for name in ("base", "code", "math"):
        hub.add_model(f"acme/{name}", bert(tmp_path / name))
    probe = write_probe(
        tmp_path / "probe.jsonl",
        {"probe": "moods", "kind": "text-classification", "labels": ["good", "bad"]},
        [{"text": "a fine day", "label": "good"}, {"text": "a bad day", "label": "bad"}],
    )
    return {"probes": [str(probe)], "stream": True}


def merge_of(*names: str) -> Recipe:
    models = [{"model": f"acme/{name}", "parameters": {"weight": 1.0}} for name in names]
    text = yaml.safe_dump({"merge_method": "task_arithmetic", "base_model": "acme/base", "models": models})
    return read_recipe(text)


def measured_of(job: Job) -> list[str]:
    assert (job.state, job.error) == ("done", None)
    return [score["model"].partition("@")[0] for score in (job.result or {})["scores"]]


def test_merge_is_measured_and_its_parents_are_not_which_page_and_card_say(
    hub: LocalHub, client: HubClient, workspace: Workspace, moods: dict[str, object]
) -> None:
    job = run(hub, workspace, Visitor(client, ""), merge_of("code", "math"), **moods)
    assert measured_of(job) == ["merge"]
    verdict, _, _, said, *_ = shown(job)
    assert "base, code and math were not measured: their weights stayed on the Hub." in said
    assert verdict == ""
    card = (workspace.store.root / str((job.result or {})["model"]) / "README.md").read_text()
    assert "were not measured." in card.split("## Measured")[1].split("##")[0]


def test_parent_that_is_on_this_machine_is_measured_although_the_others_stream(
    hub: LocalHub,
    client: HubClient,
    workspace: Workspace,
    moods: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client.download(client.checkpoint(ModelRef.parse("acme/code")))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, SPARE + 100_000))
    draft = Draft.of(merge_of("code", "math"))
    beneath = readiness(
        draft, dict(workspace.open(draft.recipe, client)), 1, "", client, workspace.store.root
    )[2]
    assert "measures the merge and 1 of its 3 models on 1 probe set: the others stay on the Hub" in beneath
    job = run(hub, workspace, Visitor(client, ""), draft.recipe, **moods)
    assert measured_of(job) == ["acme/code", "merge"]
    verdict, _, _, said, *_ = shown(job)
    assert "base and math were not measured: their weights stayed on the Hub." in said
    assert "the best fine-tune measured, code" in verdict


def test_what_was_measured_of_a_parent_before_is_shown_although_it_streams(
    hub: LocalHub, client: HubClient, workspace: Workspace, moods: dict[str, object], tmp_path: Path
) -> None:
    who = Visitor(client, "")
    whole = run(hub, workspace, who, merge_of("code"), **{**moods, "stream": False})
    shutil.rmtree(tmp_path / "cache")
    again = run(hub, workspace, who, merge_of("code", "math"), **moods)
    assert measured_of(again) == ["acme/base", "acme/code", "merge"]
    assert (again.result or {})["scores"][:2] == (whole.result or {})["scores"][:2]
    assert not list((tmp_path / "cache").rglob("model.safetensors"))
    assert "math was not measured: its weights stayed on the Hub." in shown(again)[3]


@pytest.mark.usefixtures("small_disk")
def test_run_that_lost_the_hub_goes_on_when_it_is_asked_for_again(
    hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "PATIENT", Patience(2, 0.01, 1.0))
    put_on(hub, tmp_path / "models")
    last = hub.repo("acme/base").head.files["model-00002-of-00002.safetensors"].sha256
    who = Visitor(client, "")
    job = who.submit(workspace, "merge", "me", recipe(density=0.3), {})
    hub.fail(f"storage/{last}", status=503)
    failed = work(workspace, job)
    assert failed.state == "failed"
    assert failed.error is not None
    assert failed.error.endswith("The same merge then goes on where it stopped.")
    hub.forget()
    done = work(workspace, who.again(workspace, failed))
    assert (done.state, done.error) == ("done", None)
    assert 0 < (done.result or {})["streamed"] < sum(weights_of(hub, *NAMES).values())


def test_run_again_whose_models_have_no_room_any_more_reads_them_from_the_hub(
    hub: LocalHub,
    client: HubClient,
    workspace: Workspace,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    put_on(hub, tmp_path / "models")
    who = Visitor(client, "")
    job = who.submit(workspace, "merge", "me", recipe(density=0.3), {})
    cancelled = workspace.store.cancel(job.id, "me")
    request.getfixturevalue("small_disk")
    done = work(workspace, who.again(workspace, cancelled))
    assert (done.state, done.error) == ("done", None)
    assert (done.result or {})["streamed"] == sum(weights_of(hub, *NAMES).values())


def test_run_again_whose_models_have_room_by_now_downloads_them(
    hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path
) -> None:
    put_on(hub, tmp_path / "models")
    who = Visitor(client, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, SPARE + OUTPUT))
        job = who.submit(workspace, "merge", "me", recipe(density=0.3), {})
    assert job.options["stream"] is True
    done = work(workspace, who.again(workspace, workspace.store.cancel(job.id, "me")))
    assert (done.state, done.error) == ("done", None)
    assert (done.result or {})["streamed"] == 0
    assert (done.result or {})["report"]


class TestOnASpace:
    @pytest.fixture(autouse=True)
    def space(self, monkeypatch: pytest.MonkeyPatch, small_disk: None) -> None:
        monkeypatch.setenv("SPACE_ID", "ada/tiebreak")

    def test_public_models_are_read_for_everybody(
        self, hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path
    ) -> None:
        put_on(hub, tmp_path / "models")
        job = run(hub, workspace, Visitor(client, "ada"), recipe(density=0.3))
        assert (job.state, job.error) == ("done", None)
        assert hub.requests
        assert not any("authorization" in request.headers for request in hub.requests)

    @pytest.mark.parametrize("access", ["gated", "private"])
    def test_models_open_to_the_visitor_alone_are_not_read_by_the_worker(
        self, hub: LocalHub, workspace: Workspace, tmp_path: Path, access: str
    ) -> None:
        put_on(hub, tmp_path / "models", **{access: True})
        hub.add_user("acme", "hf_acmeOwnsThem0000000000000")
        owner = HubClient("hf_acmeOwnsThem0000000000000", hub.url)
        with pytest.raises(UserError, match="is open to your account alone, and your sign-in never leaves"):
            Visitor(owner, "acme").submit(workspace, "merge", "me", recipe(density=0.3), {})
        assert not workspace.store.list("me")

    def test_run_again_is_refused_what_a_new_one_is(
        self, hub: LocalHub, workspace: Workspace, tmp_path: Path
    ) -> None:
        put_on(hub, tmp_path / "models", private=True)
        hub.add_user("acme", "hf_acmeOwnsThem0000000000000")
        who = Visitor(HubClient("hf_acmeOwnsThem0000000000000", hub.url), "acme")
        exact = pinned(recipe(density=0.3), open_all(recipe(density=0.3), who.hub))
        job = workspace.store.submit("merge", "me", write_recipe(exact), account="acme")
        cancelled = workspace.store.cancel(job.id, "me")
        with pytest.raises(UserError, match="is open to your account alone, and your sign-in never leaves"):
            who.again(workspace, cancelled)
        assert workspace.store.get(job.id, "me") == cancelled

    def test_sampled_comparison_that_is_run_again_downloads_nothing(
        self, hub: LocalHub, client: HubClient, workspace: Workspace, tmp_path: Path
    ) -> None:
        put_on(hub, tmp_path / "models")
        who = Visitor(client, "ada")
        job = who.submit(workspace, "inspect", "me", recipe(density=0.3), {"sample_mb": 1})
        again = who.again(workspace, workspace.store.cancel(job.id, "me"))
        assert (again.state, again.options) == ("queued", {"sample_mb": 1})
        assert not again.needs["downloads"]
