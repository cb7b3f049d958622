"""Downloads reach the ticket's folder and nothing beside it."""

import io
import zipfile
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.publishing.downloads import Tickets, routes, zip_stream
from merge_core.jobs.retention import is_in_use


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "run" / "model"
    (model / "deep").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(bytes(range(256)) * 9000)
    (model / "deep" / "vocab.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("secret")
    (model / "link.txt").symlink_to(tmp_path / "secret.txt")
    return model


@pytest.fixture
def tickets() -> Tickets:
    return Tickets()


@pytest.fixture
def client(tickets) -> TestClient:
    return TestClient(Starlette(routes=routes(tickets)))


def test_the_zip_holds_every_file_byte_for_byte(client, tickets, folder):
    ticket = tickets.give(folder, "my-merge")
    answer = client.get(f"/download/{ticket}/my-merge.zip")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert sorted(archive.namelist()) == ["deep/vocab.json", "model.safetensors"]
    assert archive.read("model.safetensors") == (folder / "model.safetensors").read_bytes()


def test_a_single_file_is_sent_under_its_name(client, tickets, folder):
    answer = client.get(f"/download/{tickets.give(folder, 'm')}/deep/vocab.json")
    assert answer.text == "{}"
    assert 'filename="vocab.json"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "path",
    ["../../secret.txt", "%2e%2e/%2e%2e/secret.txt", "..%2f..%2fsecret.txt", "link.txt", "/etc/passwd", ""],
)
def test_no_spelling_of_a_path_leads_out_of_the_folder(client, tickets, folder, path):
    answer = client.get(f"/download/{tickets.give(folder, 'm')}/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_an_unknown_ticket_opens_nothing(client, folder):
    assert client.get("/download/guess/model.safetensors").status_code == 404


def test_a_ticket_expires(client, tickets, folder, monkeypatch):
    ticket = tickets.give(folder, "m")
    monkeypatch.setattr("components.publishing.downloads.time.monotonic", lambda: 1e12)
    assert client.get(f"/download/{ticket}/model.safetensors").status_code == 404


def test_a_run_does_not_make_way_while_its_zip_is_sent(folder):
    parts = zip_stream(folder)
    next(parts)
    assert is_in_use(folder)
    list(parts)
    assert not is_in_use(folder)
