"""Who a visitor is, what they may reach, and what other sites may not do in their name."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from components.event_fields import Refused
from components.runs.runs import known_owner, new_owner
from components.same_origin import SameOrigin
from components.visitor import visitor_token
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.jobs import JobStore
from merge_core.recipe import build_recipe


def request_with(session: dict[str, Any]) -> Any:
    return SimpleNamespace(request=SimpleNamespace(scope={"session": session}))


def test_token_counts_until_it_expires() -> None:
    def signed_in(expires: float) -> Any:
        return request_with({"oauth_info": {"access_token": "hf_x", "expires_at": expires}})

    assert visitor_token(signed_in(time.time() + 60)) == "hf_x"
    assert visitor_token(signed_in(time.time() - 1)) is None
    assert visitor_token(request_with({})) is None


@pytest.mark.parametrize("owner", ["", "ada", "x" * 23, None, 7])
def test_owner_that_could_be_guessed_is_refused(owner: Any) -> None:
    with pytest.raises(Refused):
        known_owner(owner)
    assert known_owner(new_owner())


@pytest.mark.parametrize("ref", ["/etc", "./assets", "acme/x+/etc", "acme/x+./assets", "acme/x+../up"])
def test_folders_of_a_space_are_closed_even_as_adapters(tmp_path: Path, ref: str) -> None:
    space = Workspace(JobStore(tmp_path), on_space=True)
    with pytest.raises(UserError, match="not open to visitors"):
        space.check_reach(build_recipe("linear", None, [(ref, {"weight": 1.0})]))
    space.check_reach(build_recipe("linear", None, [("acme/x+acme/y@main", {"weight": 1.0})]))


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://testserver", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://testserver.evil", 403),
    ],
)
def test_other_sites_cannot_act_for_a_visitor(origin: str | None, status: int) -> None:
    route = Route("/", lambda _: PlainTextResponse("done"), methods=["GET", "POST"])
    client = TestClient(Starlette(routes=[route], middleware=[Middleware(SameOrigin)]))
    headers = {} if origin is None else {"Origin": origin}
    assert client.post("/", headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == status
