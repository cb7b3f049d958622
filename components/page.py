"""What every part of the page shares: the draft, its past, the visitor, the selected run, the notice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components import wording
from components.scripts import script
from components.tuning.editing import Draft
from merge_core.errors import UserError, UserErrors
from merge_core.recipe import Recipe

LONGEST_PAST = 50
OTHER_RECIPE = "recipe"  # names the change to a recipe that has nothing to do with the one before

# Every listener answers this visitor's page only, and puts no spinner over what is there. One that changes a state
# which others listen to must go through the queue: Gradio tells of changed states only there.
CHANGE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
QUICK: dict[str, Any] = {**CHANGE, "queue": False}

Past = tuple[tuple[str, Draft, float], ...]  # (what was changed, the draft before, when last), oldest first
PAUSE = 3.0  # seconds; changes of one name that follow each other faster are one step of undo


class Notice(gr.HTML):
    """What went wrong and what to do about it, as text; its value is "" or {message, hint}."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value="",
            html_template=(
                '<div class="tb-notice" role="alert" hidden><b></b> <span></span>'
                '<button type="button" aria-label="Dismiss">×</button></div>'
            ),
            js_on_load=script("dom.js")
            + """const [box] = element.getElementsByClassName("tb-notice");
const show = () => {
  box.hidden = !props.value;
  saySentence(box.querySelector("b"), props.value?.message);
  saySentence(box.querySelector("span"), props.value?.hint);
};
box.querySelector("button").addEventListener("click", () => { props.value = ""; show(); });
watch("value", show); show();""",
            apply_default_css=False,
            **settings,
        )


def complaint(error: UserError) -> dict[str, str]:
    """A `UserError` as a `Notice` shows it; several, line by line."""
    if isinstance(error, UserErrors):
        return {
            "message": f"{len(error.problems)} things to mend:",
            "hint": wording.without_commits(error.message),
        }
    return {"message": wording.without_commits(error.message), "hint": wording.without_commits(error.hint)}


@dataclass(frozen=True)
class Page:
    """The page's state. Made by `build`; listeners take and return these components.

    Args:
        draft: the `Draft` being edited, the only state there is of a merge.
        past: drafts before it, for undo.
        redraw: counts changes that did not come from the controls, after which they must be set anew.
        owner: this browser's unguessable name, kept by the browser; whoever has it sees its runs.
        run: id of the selected run, "" for none.
        notice: where an edit's error is shown.
    """

    draft: gr.State
    past: gr.State
    redraw: gr.State
    owner: gr.BrowserState
    run: gr.State
    notice: Notice

    def edit(
        self,
        listener: Callable[..., Any],
        change: Callable[..., Recipe],
        inputs: list[Any] | None = None,
        *,
        what: str,
        redraw: bool | Callable[[Recipe], bool] = True,
        **settings: Any,
    ) -> Any:
        """Let an event change the recipe.

        Args:
            change: (recipe, *inputs) → changed recipe; its `UserError` goes to the notice.
            what: names the change; changes of the same name that quickly follow each other are undone together.
            redraw: whether the controls must be set anew, perhaps told by the recipe before; False for what the
                visitor's own control just said.
        """

        def handler(draft: Draft, past: Past, redraws: int, *values: Any) -> tuple[Any, ...]:
            anew = redraw(draft.recipe) if callable(redraw) else redraw
            return edited(draft, past, redraws + anew, lambda recipe: change(recipe, *values), what)

        return listener(
            handler,
            [self.draft, self.past, self.redraw, *(inputs or [])],
            [self.draft, self.past, self.redraw, self.notice],
            **{**CHANGE, **settings},
        )


def edited(
    draft: Draft, past: Past, redraws: int, change: Callable[[Recipe], Recipe], what: str
) -> tuple[Any, Any, Any, Any]:
    """(draft, past, redraws, notice) after a change; where it fails, only the notice changes."""
    try:
        after = Draft.of(change(draft.recipe))
    except UserError as error:
        return gr.skip(), gr.skip(), gr.skip(), complaint(error)
    if after == draft:
        return gr.skip(), gr.skip(), gr.skip(), ""
    now = time.monotonic()
    goes_on = bool(past) and past[-1][0] == what and now - past[-1][2] < PAUSE
    past = (*past[:-1], (what, past[-1][1], now)) if goes_on else (*past, (what, draft, now))[-LONGEST_PAST:]
    return after, past, redraws, ""


def earlier(past: Past) -> list[Recipe]:
    """The drafts before this one that led to it, oldest first: since another recipe was put in their place."""
    found: list[Recipe] = []
    for what, before, _ in past:
        found = [] if what == OTHER_RECIPE else [*found, before.recipe]
    return found


def undone(draft: Draft, past: Past, redraws: int) -> tuple[Any, Past, int, Any]:
    """(draft, past, redraws, notice) after taking the last change back."""
    if not past:
        return gr.skip(), past, redraws, ""
    return past[-1][1], past[:-1], redraws + 1, ""


def build(draft: Draft) -> Page:
    """The shared state, opening with `draft`; shows the notice where it is called."""
    gr.HTML(
        html_template="<span hidden></span>",
        js_on_load=script("escape.js"),
        apply_default_css=False,
        elem_classes=["tb-no-box"],
    )
    return Page(
        draft=gr.State(draft),
        past=gr.State(()),
        redraw=gr.State(0),
        # The secret only keeps the value from being read by eye; what protects a visitor's runs is that the
        # name in it cannot be guessed.
        owner=gr.BrowserState("", storage_key="tiebreak-visitor", secret="tiebreak"),
        run=gr.State(""),
        notice=Notice(elem_id="tb-notice"),
    )
