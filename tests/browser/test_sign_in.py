"""On a Space: a real OAuth round trip, and what a visitor may do with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import running_app
from tests.hub.openid import CLIENT_ID, CLIENT_SECRET, OpenIdProvider
from tests.hub.server import LocalHub
from tests.tiny_models import vit

MINUTE = 60_000  # ms


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    folder = tmp_path_factory.mktemp("models")
    with LocalHub() as running:
        running.add_user("eve", "hf_eveMayOnlyLookAtHerOwn0000000000")
        running.add_model("ada/secret-vit", vit(folder / "secret"), private=True)
        yield running
        assert not running.bugs, "\n".join(running.bugs)


@pytest.fixture(scope="module")
def provider(hub: LocalHub) -> Iterator[OpenIdProvider]:
    with OpenIdProvider("ada", hub.token) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def space(home: Path, hub: LocalHub, provider: OpenIdProvider) -> Iterator[str]:
    """The app as it runs on a Space; its owner has left a token in the environment."""
    settings = {
        "SYSTEM": "spaces",
        "SPACE_ID": "acme/tiebreak",
        "OAUTH_CLIENT_ID": CLIENT_ID,
        "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
        "OAUTH_SCOPES": "openid profile contribute-repos gated-repos write-discussions",
        "OPENID_PROVIDER_URL": provider.url,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "hf"),
        "HF_TOKEN": hub.token,
        "HF_HUB_DISABLE_XET": "1",
    }
    with running_app(home, **settings) as served:
        yield served.replace("127.0.0.1", "localhost")


@pytest.fixture
def visitor(browser: Browser, space: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(space)
    expect(page.locator("#tb-start")).to_be_enabled(timeout=MINUTE)
    yield page
    context.close()


def look_for(page: Page, name: str) -> None:
    page.click("#tb-add")
    page.get_by_role("radio", name="Hub").check()
    page.locator(".tb-hub-input").fill(name)


def test_visitor_who_has_not_signed_in_is_nobody_although_the_owner_left_a_token(visitor: Page) -> None:
    look_for(visitor, "ada/secret-vit")
    expect(visitor.locator(".tb-hub-said")).to_contain_text("no such model")
    expect(visitor.locator(".tb-hub-row")).to_have_count(0)


def test_signed_in_visitor_sees_what_is_theirs_until_they_sign_out(
    visitor: Page, provider: OpenIdProvider, hub: LocalHub
) -> None:
    provider.user, provider.token = "ada", hub.token
    visitor.get_by_role("button", name="Sign in").click()
    expect(visitor.get_by_role("button", name="Sign out ada")).to_be_visible(timeout=MINUTE)
    assert "contribute-repos" in provider.scopes
    look_for(visitor, "secret-vit")
    expect(visitor.locator(".tb-hub-row", has_text="ada/secret-vit")).to_contain_text("private")
    visitor.get_by_role("button", name="Sign out ada").click()
    expect(visitor.get_by_role("button", name="Sign in")).to_be_visible(timeout=MINUTE)
    look_for(visitor, "ada/secret-vit")
    expect(visitor.locator(".tb-hub-said")).to_contain_text("no such model")


def paste(page: Page, recipe: str) -> None:
    page.click("#tb-recipe-button")
    page.locator("#tb-recipe-text .cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type(recipe)
    page.click("#tb-apply")


SECRET = "merge_method: linear\nmodels: [{model: ada/secret-vit, parameters: {weight: 1}}]\n"


def test_private_model_is_merged_in_its_owners_name_and_stays_closed_to_others(
    visitor: Page, provider: OpenIdProvider, hub: LocalHub, browser: Browser, space: str
) -> None:
    provider.user, provider.token = "ada", hub.token
    visitor.get_by_role("button", name="Sign in").click()
    expect(visitor.get_by_role("button", name="Sign out ada")).to_be_visible(timeout=MINUTE)
    paste(visitor, SECRET)
    expect(visitor.locator(".tb-model")).to_have_count(1)
    expect(visitor.locator("#tb-start")).to_be_enabled(timeout=MINUTE)
    visitor.click("#tb-start")
    expect(visitor.locator("#tb-runs .tb-chip").first).to_have_text(re.compile("done"), timeout=MINUTE)

    context = browser.new_context(viewport={"width": 1440, "height": 900})
    stranger = context.new_page()
    stranger.goto(space)
    expect(stranger.locator("#tb-start")).to_be_enabled(timeout=MINUTE)
    pinned = hub.repo("ada/secret-vit").head.sha
    paste(stranger, SECRET.replace("secret-vit", f"secret-vit@{pinned}"))
    expect(stranger.locator("#tb-start")).to_be_disabled(timeout=MINUTE)
    expect(stranger.locator(".tb-model .tb-chip")).to_have_text("not readable")
    context.close()


def test_folders_of_the_server_are_not_open_to_visitors(visitor: Page) -> None:
    visitor.click("#tb-add")
    expect(visitor.get_by_role("radio", name="Folder")).to_have_count(0)
    paste(visitor, "merge_method: linear\nmodels: [{model: /etc, parameters: {weight: 1}}]\n")
    expect(visitor.locator("#tb-notice")).to_contain_text("folders of this server are not open to visitors")


def test_finished_merge_waits_for_the_visitor_to_sign_in_and_is_then_pushed(
    visitor: Page, provider: OpenIdProvider, hub: LocalHub, home: Path
) -> None:
    provider.user, provider.token = "ada", hub.token
    visitor.click("#tb-start")
    expect(visitor.locator("#tb-runs .tb-chip").first).to_have_text(re.compile("done"), timeout=2 * MINUTE)
    visitor.locator("#tb-push-fold").get_by_role("button").first.click()
    expect(visitor.locator("#tb-push-status")).to_contain_text("Sign in")
    visitor.locator("#tb-repository input, #tb-repository textarea").fill("ada/from-a-space")
    visitor.click("#tb-push")
    expect(visitor.locator("#tb-push-status")).to_contain_text("Not pushed")
    visitor.get_by_role("button", name="Sign in").click()
    expect(visitor.get_by_role("button", name="Sign out ada")).to_be_visible(timeout=MINUTE)
    expect(visitor.locator("#tb-files .tb-zip")).to_be_visible(timeout=MINUTE)
    visitor.locator("#tb-push-fold").get_by_role("button").first.click()
    expect(visitor.locator("#tb-namespace select")).to_have_value("ada")
    visitor.locator("#tb-repository input, #tb-repository textarea").fill("from-a-space")
    visitor.click("#tb-push")
    expect(visitor.locator("#tb-push-status")).to_contain_text("Pushed", timeout=MINUTE)
    assert "model.safetensors" in hub.files("ada/from-a-space")
    for path in home.rglob("*"):
        if path.is_file() and path.stat().st_size < 50_000_000:
            assert hub.token.encode() not in path.read_bytes(), path
