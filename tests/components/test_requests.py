"""Requests that the page would not send: whoever knows an address can call it with anything."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.runs.runs import new_owner
from tests.browser.conftest import running_app

TELLING = {
    "search",
    "related",
    "choose",
    "toggle",
    "remove",
    "weight",
    "density",
    "sample",
    "cells",
    "pick",
    "cancel",
    "again",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, log) of the real app."""
    home = tmp_path_factory.mktemp("home")
    with running_app(home) as address:
        yield address, home / "app.log"


def told_events(address: str) -> list[dict[str, Any]]:
    """Every event of the page's own that tells more than a component's value."""
    with urllib.request.urlopen(f"{address}/config") as answer:
        config = json.load(answer)
    kinds = {component["id"]: component["type"] for component in config["components"]}
    return [
        {"id": event["id"], "name": event["targets"][0][1], "inputs": [kinds[i] for i in event["inputs"]]}
        for event in config["dependencies"]
        if event["backend_fn"] and event["targets"][0][1] in TELLING
    ]


def answer(address: str, event: dict[str, Any], fields: Any, owner: str | None) -> str:
    """The error that a call with these event fields is answered with."""
    data = [owner if kind == "browserstate" else None for kind in event["inputs"]]
    body = {"fn_index": event["id"], "data": data, "session_hash": "test", "event_data": fields}
    request = urllib.request.Request(
        f"{address}/gradio_api/run/predict", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    return str(json.load(refused.value)["error"])


@pytest.mark.parametrize("fields", [None, {}, {"other": 1}, [1], "share", 7])
def test_call_without_an_events_fields_is_told_so_and_leaves_no_traceback(
    served: tuple[str, Path], fields: Any
) -> None:
    address, log = served
    events = told_events(address)
    assert {event["name"] for event in events} == TELLING
    for event in events:
        assert "lacks the field" in answer(address, event, fields, new_owner()), event
    assert "Traceback" not in log.read_text()


def test_call_with_fields_of_another_kind_is_told_so_and_leaves_no_traceback(
    served: tuple[str, Path],
) -> None:
    address, log = served
    names = ("key", "weight", "text", "kind", "id", "role", "revision", "share", "mb")
    for event in told_events(address):
        if event["name"] != "cells":  # its one field may be anything, and is read with the recipe
            assert "is not a" in answer(address, event, {name: [[]] for name in names}, new_owner()), event
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    "number", [10**400, float("inf"), float("-inf"), float("nan")], ids=["huge", "inf", "-inf", "nan"]
)
def test_number_that_no_control_gives_is_told_so_and_leaves_no_traceback(
    served: tuple[str, Path], number: float
) -> None:
    address, log = served
    numeric = {"weight": "weight", "density": "share", "sample": "mb"}
    events = [event for event in told_events(address) if event["name"] in numeric]
    assert events
    for event in events:
        fields = {"key": "x", "weight": 1, numeric[event["name"]]: number}
        assert "is not a number" in answer(address, event, fields, new_owner()), event
    assert "Traceback" not in log.read_text()


def test_call_of_nobody_is_told_so_and_leaves_no_traceback(served: tuple[str, Path]) -> None:
    address, log = served
    for event in told_events(address):
        if event["name"] in ("pick", "cancel", "again"):
            assert "lost track of who you are" in answer(address, event, {"id": "x"}, "guess"), event
    assert "Traceback" not in log.read_text()
