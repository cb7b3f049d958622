"""Publishing a folder: added whole or not at all, never over what is there."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from merge_core.errors import UserError
from merge_core.hub import HubClient, session
from merge_core.progress import Cancelled, Progress
from merge_core.recipe import ModelRef
from tests.checkpoints import write_model
from tests.hub.server import LocalHub

ID = "ada/merge"


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """A merge's folder, with what must stay here."""
    values = np.random.default_rng(1).normal(size=(1024, 512)).astype(np.float32)
    folder = write_model(tmp_path / "merged", {"a": values, "b": values + 1}, shards=2)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A merge\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "secret").write_text("stays here")
    (folder / ".env").write_text("HF_TOKEN=stays_here")
    (folder / "passwords").symlink_to("/etc/passwd")
    return folder


def sent(folder: Path) -> dict[str, bytes]:
    names = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    relative = {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}
    return {name: content for name, content in relative.items() if not name.startswith(".")}


def held(hub: LocalHub, repo_id: str = ID, revision: str = "main") -> dict[str, bytes]:
    files = hub.files(repo_id, revision)
    files.pop(".gitattributes")
    return files


def publish(client: HubClient, folder: Path, repo_id: str = ID, pull_request: bool = False) -> str:
    """Publish; the error's words."""
    with pytest.raises(UserError) as caught:
        client.publish(folder, repo_id, private=True, pull_request=pull_request)
    assert "hf_" not in str(caught.value)
    return str(caught.value)


def test_new_repository_holds_the_plain_files_of_the_folder(
    hub: LocalHub, client: HubClient, merged: Path
) -> None:
    told: list[Progress] = []

    made = client.publish(merged, ID, private=True, pull_request=False, progress=told.append)

    assert held(hub) == sent(merged)
    assert hub.repo(ID).private
    assert (made.url, made.commit, made.pull_request_url) == (f"{hub.url}/{ID}", hub.repo(ID).head.sha, None)
    assert len(hub.repo(ID).commits) == 2
    total = sum(map(len, sent(merged).values()))
    assert told[-1].done == told[-1].total == total
    assert any(
        0 < progress.done < total and progress.message == "Uploading to ada/merge" for progress in told
    )


def test_public_repository_is_made_only_when_asked_for(
    hub: LocalHub, client: HubClient, merged: Path
) -> None:
    client.publish(merged, "guild/merge", private=False, pull_request=False)
    assert not hub.repo("guild/merge").private


def test_token_does_not_reach_the_storage(hub: LocalHub, client: HubClient, merged: Path) -> None:
    client.publish(merged, ID, private=True, pull_request=False)
    assert len(hub.asked("PUT /storage/")) == 2
    assert all("authorization" not in request.headers for request in hub.asked("PUT"))


def test_published_files_are_compared_with_the_hubs(hub: LocalHub, client: HubClient, merged: Path) -> None:
    def damage() -> None:
        repo = hub.repo(ID)
        hub.store.commit(repo, {"model-00001-of-00002.safetensors": hub.store.put(b"other", True)}, "damage")
        repo.commits = dict.fromkeys(repo.commits, repo.head)

    hub.fail("paths-info", times=1, then=damage)
    assert publish(client, merged) == (
        "ada/merge: model-00001-of-00002.safetensors did not arrive as it was sent. Publish again."
    )


def test_mirror_that_names_small_files_in_its_own_way_is_read_back(
    hub: LocalHub, client: HubClient, merged: Path
) -> None:
    hub.store.names_as_git = False
    client.publish(merged, ID, private=True, pull_request=False)
    assert held(hub) == sent(merged)
    assert len(hub.asked("GET .*/resolve/")) == 4  # README, config, index, and the nested configuration


def test_existing_files_are_never_replaced(
    hub: LocalHub, client: HubClient, merged: Path, model: Path
) -> None:
    hub.add_model(ID, model)
    before = held(hub)

    assert publish(client, merged) == (
        "ada/merge has a README.md already, and publishing never replaces a file. "
        "Publish as a pull request, or under a new name."
    )
    assert held(hub) == before
    assert not hub.asked("PUT|POST /api/models/ada/merge/commit")


def test_new_files_are_added_beside_others(
    hub: LocalHub, client: HubClient, merged: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "NOTES.txt").write_text("mine")
    hub.add_model(ID, tmp_path / "notes")

    client.publish(merged, ID, private=True, pull_request=False)

    assert held(hub) == {**sent(merged), "NOTES.txt": b"mine"}


def test_publishing_again_sends_nothing(hub: LocalHub, client: HubClient, merged: Path) -> None:
    first = client.publish(merged, ID, private=True, pull_request=False)
    hub.forget()

    again = client.publish(merged, ID, private=True, pull_request=False)

    assert again == first
    assert not hub.asked("PUT|/commit/")


def test_pull_request_leaves_the_branch_as_it_is(
    hub: LocalHub, client: HubClient, merged: Path, model: Path
) -> None:
    hub.add_model("acme/base", model)
    before = held(hub, "acme/base")

    made = client.publish(merged, "acme/base", private=True, pull_request=True)

    assert held(hub, "acme/base") == before
    assert held(hub, "acme/base", "refs/pr/1") == {**before, **sent(merged)}
    assert made.pull_request_url == f"{hub.url}/acme/base/discussions/1"
    assert made.commit == hub.repo("acme/base").refs["refs/pr/1"]
    assert client.checkpoint(ModelRef("acme/base", "refs/pr/1")).commit == made.commit


def test_pull_request_needs_a_repository(hub: LocalHub, client: HubClient, merged: Path) -> None:
    assert "ada/merge does not exist" in publish(client, merged, pull_request=True)
    assert ID not in hub.store.repos


def test_nothing_is_ever_deleted(hub: LocalHub, client: HubClient, merged: Path, model: Path) -> None:
    hub.add_model("acme/base", model)
    client.publish(merged, ID, private=True, pull_request=False)
    client.publish(merged, "acme/base", private=True, pull_request=True)

    assert not hub.asked("DELETE")
    assert all("deleted" not in str(request) for request in hub.requests)
    assert "pytorch_model.bin" in held(hub, "acme/base", "refs/pr/1")


def test_somebody_who_commits_meanwhile_is_not_overwritten(
    hub: LocalHub, client: HubClient, merged: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("theirs")
    hub.store.create(ID)
    hub.fail("PUT /storage", times=1, then=lambda: hub.add_model(ID, tmp_path / "notes"))

    said = publish(client, merged)

    assert "ada/merge has changed meanwhile" in said
    assert held(hub) == {"README.md": b"theirs"}


def test_cut_upload_goes_on(hub: LocalHub, client: HubClient, merged: Path) -> None:
    hub.fail("PUT /storage/", drop_answer=True, times=1)
    hub.fail("PUT /storage/", status=500, times=1)

    client.publish(merged, ID, private=True, pull_request=False)

    assert held(hub) == sent(merged)


def test_files_that_had_arrived_are_not_sent_again(hub: LocalHub, client: HubClient, merged: Path) -> None:
    hub.fail("/commit/", status=500, times=1)
    assert "The Hub has trouble of its own for ada/merge" in publish(client, merged)
    hub.forget()

    client.publish(merged, ID, private=True, pull_request=False)

    assert held(hub) == sent(merged)
    assert not hub.asked("PUT /storage/")


def test_upload_that_breaks_each_time_is_told(hub: LocalHub, client: HubClient, merged: Path) -> None:
    hub.fail("PUT /storage/", drop_answer=True)
    assert publish(client, merged) == f"The connection to {hub.url} broke for ada/merge. Try again."
    assert held(hub) == {}


def test_commit_whose_answer_got_lost_counts(hub: LocalHub, client: HubClient, merged: Path) -> None:
    hub.fail("/commit/", drop_answer=True, times=1)

    made = client.publish(merged, ID, private=True, pull_request=False)

    assert made.commit == hub.repo(ID).head.sha
    assert held(hub) == sent(merged)
    assert len(hub.asked("/commit/")) == 1


@pytest.mark.parametrize(
    "moment",
    ["GET /api/models/ada/merge", "repos/create", "preupload", "objects/batch", "PUT /storage/", "verify"],
)
def test_cancelled_upload_shows_nothing_on_the_hub_and_goes_on_the_next_time(
    hub: LocalHub, client: HubClient, merged: Path, moment: str
) -> None:
    stop = threading.Event()
    hub.fail(moment, times=1, delay=0.0, then=stop.set)
    with pytest.raises(Cancelled) as caught:
        client.publish(merged, ID, private=True, pull_request=False, cancelled=stop.is_set)
    assert not hub.asked("POST .*/commit/")
    assert not hub.asked("DELETE")
    if moment.startswith("GET"):
        assert (ID in hub.store.repos, str(caught.value)) == (False, "")
    else:
        assert held(hub) == {}
        assert str(caught.value) == "ada/merge was made, and is empty."
    hub.forget()
    client.publish(merged, ID, private=True, pull_request=False)
    assert held(hub) == sent(merged)
    assert not hub.asked("DELETE")


def test_cancelled_pull_request_is_never_opened(
    hub: LocalHub, client: HubClient, merged: Path, model: Path
) -> None:
    hub.add_model(ID, model)
    stop = threading.Event()
    hub.fail("PUT /storage/", times=1, then=stop.set)
    with pytest.raises(Cancelled):
        client.publish(merged, ID, private=True, pull_request=True, cancelled=stop.is_set)
    assert hub.repo(ID).pull_requests == 0
    assert held(hub) == sent(model)


def test_cancelled_too_late_it_is_published(hub: LocalHub, client: HubClient, merged: Path) -> None:
    stop = threading.Event()
    hub.fail("POST .*/commit/", times=1, then=stop.set)
    client.publish(merged, ID, private=True, pull_request=False, cancelled=stop.is_set)
    assert held(hub) == sent(merged)


# Who may not, and what else stands against it --------------------------------------------------------------


def test_nobody_signed_in(hub: LocalHub, stranger: HubClient, merged: Path) -> None:
    assert publish(stranger, merged).startswith("Nobody is signed in to the Hub.")
    assert not hub.requests


def test_hub_that_falls_silent(
    hub: LocalHub, client: HubClient, merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(session._WAITS, "read", 0.1)
    hub.fail("POST /api/repos/create", delay=0.4)
    assert publish(client, merged) == (
        f"{hub.url} does not answer in time for ada/merge. Try again in a while."
    )


def test_expired_sign_in(hub: LocalHub, merged: Path) -> None:
    said = publish(HubClient(token="hf_expired0000000000", endpoint=hub.url), merged)
    assert said.startswith("The Hub does not accept your sign-in for ada/merge")


def test_token_that_may_only_read(hub: LocalHub, merged: Path) -> None:
    hub.add_user("bob", "hf_bobReadsOnly00000", can_write=False)
    said = publish(HubClient(token="hf_bobReadsOnly00000", endpoint=hub.url), merged, "bob/merge")
    assert said.startswith("Your account may not write to bob/merge: You don't have the rights")


def test_somebody_elses_name(hub: LocalHub, client: HubClient, merged: Path) -> None:
    assert "Your account may not write to acme/merge" in publish(client, merged, "acme/merge")


def test_no_room(hub: LocalHub, client: HubClient, merged: Path) -> None:
    hub.fail("objects/batch", status=403, message="Private repository storage limit reached")
    assert publish(client, merged) == (
        "The Hub has no room for ada/merge: Private repository storage limit reached. "
        "Free some storage at the Hub, or publish elsewhere."
    )


def test_card_that_the_hub_refuses(hub: LocalHub, client: HubClient, merged: Path) -> None:
    (merged / "README.md").write_text("---\nlicense: [apache\n---\n")
    assert publish(client, merged).startswith("The Hub refuses the model card's head: - YAML Metadata Error")


@pytest.mark.parametrize(
    "name", ["merge", "a/b/c", "ada/..", "https://hub.example/ada/merge", "ada/mer ge", ""]
)
def test_name_that_is_none(hub: LocalHub, client: HubClient, merged: Path, name: str) -> None:
    assert "is no name of a repository. Write owner/name." in publish(client, merged, name)
    assert not hub.requests


def test_empty_folder(hub: LocalHub, client: HubClient, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no files to publish" in publish(client, tmp_path / "empty")
    shutil.rmtree(tmp_path / "empty")
