"""How to merge: the method and one control for each of its parameters, drawn from its declaration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.choice import Choice
from components.page import QUICK, Page, Past, earlier
from components.tuning import editing
from components.tuning.controls import Control, declared_controls
from components.tuning.editing import shown_parameter
from merge_core.errors import UserError
from merge_core.methods import METHODS
from merge_core.recipe import Recipe
from merge_core.recipe.guidance import DTYPES

STORED_AS = (("As the base is", ""), *((name, name) for name in DTYPES))


@dataclass(frozen=True)
class Tuner:
    """What the page wires together; `redrawn` happens once the controls show what else set: undo, a link, a recipe."""

    method: gr.Radio
    controls: dict[str, gr.components.Component]
    redrawn: gr.events.Dependency


def control_updates(recipe: Recipe, controls: Sequence[Control]) -> list[Any]:
    """Value, visibility and range of every control, as the recipe has them."""
    updates = []
    for control in controls:
        shown = shown_parameter(recipe, control.parameter, control.spelled)
        value = control.to_view(_value(recipe, control))
        update = {"value": value, "visible": recipe.method in control.methods}
        if control.is_list:
            update |= control.listed(recipe.method)
        else:
            update["label"] = control.label(recipe.method)
        if control.is_slider:
            update["minimum"], update["maximum"] = control.range(value)
            update["info"] = shown.note  # None would leave the last one standing
        updates.append(gr.update(**update))
    return updates


def _value(recipe: Recipe, control: Control) -> Any:
    """What the recipe says of a parameter, or what stands where it says nothing."""
    said = shown_parameter(recipe, control.parameter).value
    if said is None and recipe.method in control.methods:
        return METHODS[recipe.method].unsaid(control.name, recipe.parameters)
    return said


def _stored(recipe: Recipe) -> str:
    return recipe.out_dtype or recipe.dtype or ""


def build(page: Page, recipe: Recipe) -> Tuner:
    """The method and its controls, wired to the page's draft."""
    controls = declared_controls()
    gr.Markdown("## Merge", elem_classes=["tb-title"])
    titles = [(method.title, name) for name, method in METHODS.items()]
    method = gr.Radio(
        titles,
        value=recipe.method,
        label="Method",
        show_label=False,
        elem_id="method",
        elem_classes=["tb-control", "tb-seg"],
    )
    parts: dict[str, gr.components.Component] = {}
    for control in controls:
        if control.in_front:
            parts[control.name] = control.build(_value(recipe, control))
    with gr.Accordion("More settings", open=False, elem_id="tb-more", elem_classes=["tb-fold"]):
        for control in controls:
            if not control.in_front:
                parts[control.name] = control.build(_value(recipe, control))
        stored = Choice(STORED_AS, _stored(recipe), "Store the result as", elem_id="dtype")
    for control in controls:
        _wire(page, control, parts[control.name])
    page.edit(stored.input, editing.set_dtype, [stored], what="dtype", redraw=False)
    page.edit(method.input, _change_method, [method, page.past], what="method")
    redrawn = page.redraw.change(
        lambda draft: [draft.recipe.method, _stored(draft.recipe), *control_updates(draft.recipe, controls)],
        page.draft,
        [method, stored, *(parts[c.name] for c in controls)],
        **QUICK,
    )
    return Tuner(method, parts, redrawn)


def _change_method(recipe: Recipe, name: str, past: Past) -> Recipe:
    """Another method, with what earlier drafts of this recipe said about what only it takes."""
    if name not in METHODS:
        raise UserError("No method is chosen.", f"Choose one of {', '.join(METHODS)}.")
    return editing.set_method(recipe, name, earlier(past))


def _wire(page: Page, control: Control, part: Any) -> None:
    def change(recipe: Recipe, shown: Any) -> Recipe:
        value = control.from_view(shown)
        if value is None:
            return recipe
        own = control.parameter.default is None and value == METHODS[recipe.method].unsaid(
            control.name, recipe.parameters
        )
        return editing.set_parameter(recipe, control.name, None if own else value)

    # A slider tells of every step of a drag; only the last that waits is worth sending.
    # Others follow a choice, where what they say by themselves depends on it.
    follows = control.parameter.kind == "choice" and control.parameter.default is not None

    def redraw(before: Recipe) -> bool:
        return follows or bool(shown_parameter(before, control.parameter).note)

    page.edit(part.input, change, [part], what=control.name, redraw=redraw, trigger_mode="always_last")
