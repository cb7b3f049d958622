"""Find a model on the Hub: search as you type, follow the line from a base to its fine-tunes and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from components import wording
from components.scripts import script
from merge_core.errors import UserError
from merge_core.hub import FoundModel, HubClient
from merge_core.recipe import ModelRef, Recipe

SHORTEST = 2  # characters worth asking the Hub about
MOST = 20

_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)

_PANEL = """<label class="tb-hub-label">Search the Hub, or paste an address
<input type="search" class="tb-hub-input" placeholder="a name or owner/model@revision"
 autocomplete="off" spellcheck="false"></label>
<div class="tb-hub-offers"></div>
<p class="tb-hub-said tb-quiet" role="status" aria-live="polite"></p>
<ul class="tb-hub-results" aria-label="Models found"></ul>"""


class HubSearch(gr.HTML):
    """Search box and results, drawn by `hub_search.js`.

    Events: `search` {text}, `related` {kind, id}, `choose` {id, revision, role}.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value={"models": [], "said": "", "offers": []},
            html_template=_PANEL,
            js_on_load=script("dom.js", "models/hub_search.js"),
            apply_default_css=False,
            **settings,
        )


def found(ask: Callable[[], Sequence[FoundModel]], offers: list[dict[str, str]]) -> dict[str, Any]:
    """What the search shows for an answer of the Hub, or for the lack of one."""
    try:
        models = ask()
    except UserError as error:
        return {"models": [], "said": str(error), "offers": offers}
    said = "" if models else "The Hub has no such model that you may see."
    return {"models": [row(model) for model in models], "said": said, "offers": offers}


def search(client: HubClient, text: str, recipe: Recipe) -> dict[str, Any]:
    """Models whose name holds `text`; what else could be looked up where it is too short to ask."""
    text = text.strip()
    if len(text) < SHORTEST:
        return {"models": [], "said": "", "offers": offers(recipe)}
    return {**found(lambda: client.search(text, MOST), offers(recipe)), "revision": _revision(text)}


def related(client: HubClient, kind: str, repo_id: str, recipe: Recipe) -> dict[str, Any]:
    """The fine-tunes of a base, or the bases of a fine-tune."""
    if not _REPOSITORY.fullmatch(repo_id):
        return found(list, offers(recipe))
    if kind == "fine-tunes":
        return found(lambda: client.fine_tunes_of(repo_id, MOST), offers(recipe))
    return found(lambda: client.bases_of(repo_id), offers(recipe))


def offers(recipe: Recipe) -> list[dict[str, str]]:
    """What can be looked up from where the recipe stands: a base's fine-tunes, a fine-tune's base."""
    made = []
    if recipe.base is not None and _on_hub(recipe.base):
        words = f"Fine-tunes of {recipe.base.path}"
        made.append({"kind": "fine-tunes", "id": recipe.base.path, "words": words})
    if recipe.base is None:
        hubs = [entry.ref.path for entry in recipe.models if _on_hub(entry.ref)]
        made += [{"kind": "bases", "id": path, "words": f"Base of {path}"} for path in hubs[:2]]
    return made


def pinned(client: HubClient, repo_id: str, revision: str | None) -> ModelRef:
    """The model at the commit that its branch points to now.

    Raises:
        UserError: there is no such model, or it cannot be merged as it is stored.
    """
    opened = client.checkpoint(ModelRef(repo_id, revision or None))
    return ModelRef(repo_id, opened.commit)


def row(model: FoundModel) -> dict[str, Any]:
    """What `hub_search.js` draws of one model."""
    facts = [f"{wording.count(model.downloads)} downloads"]
    if model.likes:
        facts.append(f"{wording.count(model.likes)} likes")
    if model.size:
        facts.append(wording.size(model.size))
    facts.append(model.licence or "no licence named")
    marks = [
        mark
        for mark, on in (
            ("adapter", model.is_adapter),
            ("private", model.private),
            ("gated", model.gated),
            ("no safetensors", not model.has_safetensors),
        )
        if on
    ]
    return {
        "id": model.id,
        "facts": " · ".join(facts),
        "marks": marks,
        "bases": list(model.bases[:2]),
        "usable": model.has_safetensors and not model.is_adapter,
    }


def _on_hub(ref: ModelRef) -> bool:
    return bool(_REPOSITORY.fullmatch(ref.path)) and not Path(ref.path).exists()


def _revision(text: str) -> str:
    """The revision in `owner/name@revision` or in an address `…/owner/name/tree/revision`."""
    address = re.search(r"://[^/]+/[^/]+/[^/]+/(?:tree|commit)/([^/?#\s]+)", text)
    if address:
        return address[1]
    return text.partition("@")[2] if "://" not in text else ""
