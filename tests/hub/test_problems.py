"""What a Hub can answer instead: one clear sentence each, which names the repository and never the token."""

from __future__ import annotations

import contextlib
import copy
import socket
from pathlib import Path
from typing import Any

import pytest

from merge_core.errors import UserError
from merge_core.hub import HubClient, session
from merge_core.hub.listing import list_files
from merge_core.recipe import ModelRef
from tests.hub.server import LocalHub

ID = "acme/base"


def failure(client: HubClient, ref: ModelRef | None = None) -> str:
    """The error of opening a model, whole: its own words, and whatever hangs on it."""
    with pytest.raises(UserError) as caught:
        client.checkpoint(ref or ModelRef(ID))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_missing_repository(hub: LocalHub, client: HubClient, stranger: HubClient) -> None:
    assert failure(client) == (
        "acme/base is not on the Hub, or your account may not see it. Check its spelling and your access."
    )
    assert failure(stranger) == (
        "acme/base is not on the Hub, or is private. Check its spelling; sign in if it is private."
    )


def test_private_repository_of_somebody_else(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model, private=True)
    assert "your account may not see it" in failure(client)


def test_gated_repository(hub: LocalHub, client: HubClient, stranger: HubClient, model: Path) -> None:
    hub.add_model(ID, model, gated=True)
    for asking, todo in ((client, "then try again"), (stranger, "sign in, and try again")):
        assert failure(asking) == (
            "acme/base is gated: its files are open only to accounts that its owner has let in. "
            f"Ask for access at {hub.url}/acme/base, {todo}."
        )
    hub.repo(ID).granted.add("ada")
    assert client.checkpoint(ModelRef(ID)).specs


def test_gated_repository_of_a_hub_that_says_so_only_in_its_list(
    hub: LocalHub, client: HubClient, model: Path
) -> None:
    hub.add_model(ID, model, gated=True)
    hub.fail("resolve", status=403)
    assert failure(client).startswith("acme/base is gated")


def test_revision_that_is_gone(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    assert "acme/base has no revision 'v9'; it may have been removed" in failure(client, ModelRef(ID, "v9"))
    assert "has no revision" in failure(client, ModelRef(ID, "0" * 40))


def test_token_that_is_not_accepted(hub: LocalHub, model: Path) -> None:
    hub.add_model(ID, model)
    said = failure(HubClient(token="hf_expired0000000000", endpoint=hub.url))
    assert said == (
        "The Hub does not accept your sign-in for acme/base: it has expired or was withdrawn. Sign in again."
    )


def test_forbidden(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    hub.fail("resolve", status=403, message="Not from your region")
    assert failure(client) == (
        "Your account may not read acme/base: Not from your region. Ask its owner for access."
    )


def test_too_many_requests_are_repeated_after_the_pause_asked_for(
    hub: LocalHub, client: HubClient, model: Path
) -> None:
    hub.add_model(ID, model)
    hub.fail("resolve", status=429, times=1, headers={"retry-after": "0"})
    hub.fail("GET /api/models", status=429, times=1, headers={"ratelimit": '"api";r=0;t=0'})
    assert client.checkpoint(ModelRef(ID)).specs


def test_pause_too_long_for_somebody_who_waits_is_told(hub: LocalHub, client: HubClient) -> None:
    hub.fail("GET /api/models", status=429, headers={"retry-after": "600"})
    assert failure(client) == (
        "The Hub has had too many requests from here for acme/base. Try again in 600 seconds."
    )
    assert len(hub.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_trouble_of_the_hub_is_borne_with_for_a_while(
    hub: LocalHub, client: HubClient, model: Path, status: int
) -> None:
    hub.add_model(ID, model)
    hub.fail("GET /api/models", status=status, times=2)
    assert client.checkpoint(ModelRef(ID)).specs
    hub.fail("GET /api/models", status=status)
    asked = len(hub.requests)
    assert failure(client) == (
        f"The Hub has trouble of its own for acme/base (status {status}). Try again in a while."
    )
    assert len(hub.requests) == asked + 3


def test_cut_connection_is_repeated(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    hub.fail("GET /storage/", cut_after=100, times=1)
    assert client.checkpoint(ModelRef(ID)).specs


def test_connection_cut_every_time(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    hub.fail("GET /storage/", cut_after=100)
    assert failure(client) == f"The connection to {hub.url} broke for acme/base. Try again."


def test_hub_that_does_not_answer(hub: LocalHub, client: HubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merge_core.hub.listing.ANSWER_WITHIN", 0.05)
    hub.fail("GET /api/models", delay=0.3)
    assert failure(client) == f"{hub.url} does not answer in time for acme/base. Try again in a while."


def test_nobody_waits_for_a_silent_hub_three_times(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merge_core.hub.listing.ANSWER_WITHIN", 0.2)
    hub.fail("GET /api/models", delay=0.5)
    hasty = session.Patience(attempts=3, longest_wait=5.0, within=0.1)
    with pytest.raises(UserError, match="does not answer in time"):
        list_files(session.Session(None, hub.url), ID, patience=hasty)
    assert len(hub.requests) == 1


def test_no_network(hub: LocalHub) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        said = failure(HubClient(endpoint=address))
    assert said == (
        f"The Hub at {address} cannot be reached for acme/base. "
        "Check the network, and HF_ENDPOINT if you have set it."
    )


def test_something_that_is_no_hub(hub: LocalHub, client: HubClient) -> None:
    hub.fail("GET /api/models", status=200)
    assert "gave an answer that no Hub gives for acme/base" in failure(client)


WRONG: list[object] = [None, 0, -1, 1e30, "", "x", "../../x", "x" * 5000, [], ["a"], {}, {"a": 1}, True]


def changed(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    """A copy of a JSON document with something else in one place."""
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    "path",
    [
        ("sha",),
        ("siblings",),
        ("siblings", 1),
        ("siblings", 1, "rfilename"),
        ("siblings", 1, "size"),
        ("siblings", 1, "blobId"),
        ("siblings", 3, "lfs"),
        ("siblings", 3, "lfs", "sha256"),
        ("tags",),
        ("safetensors",),
        ("downloads",),
        ("likes",),
        ("author",),
        ("id",),
        ("gated",),
    ],
    ids=lambda path: "-".join(map(str, path)),
)
def test_hub_that_tells_of_a_model_in_another_form_is_no_bug_of_ours(
    hub: LocalHub, client: HubClient, model: Path, path: tuple[str | int, ...]
) -> None:
    """Found by putting each value into each place: what is opened or found is right, or refused in a sentence."""
    hub.add_model(ID, model)
    whole = {
        "downloads": 1,
        "likes": 1,
        "author": "acme",
        "safetensors": {"parameters": {"F32": 9}},
        "tags": ["x"],
    }
    document = whole | client._session.get_json(f"/api/models/{ID}", {"blobs": "true"})
    assert document["siblings"][3]["lfs"]
    for value in WRONG:
        for answer in (changed(document, path, value), [changed(document, path, value)]):
            hub.forget()
            hub.fail("GET /api/models", answer=answer)
            for act in (
                lambda: client.download(client.checkpoint(ModelRef(ID))),
                lambda: client.search(ID, 5),
                lambda: client.bases_of(ID),
            ):
                with contextlib.suppress(UserError):
                    act()


def test_visitors_of_a_space_do_not_borrow_its_owners_token(
    hub: LocalHub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_model("ada/secret", model, private=True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert HubClient(endpoint=hub.url).checkpoint(ModelRef("ada/secret")).specs
    monkeypatch.setenv("SPACE_ID", "ada/tiebreak")
    assert "ada/secret is not on the Hub, or is private" in failure(
        HubClient(endpoint=hub.url), ModelRef("ada/secret")
    )


def test_token_is_in_no_message(hub: LocalHub, model: Path) -> None:
    client = HubClient(token=hub.token, endpoint=hub.url)
    hub.add_model(ID, model)
    hub.fail("resolve", status=403, message=f"token {hub.token} and hf_abcdefghijklmnop lack the right")
    assert hub.token not in repr(client)
    said = failure(client)
    assert "lack the right" in said
    assert "hf_" not in said
