"""What to measure: the probe sets to use, one's own probe file, and any single model by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from components import wording
from components.choice import Choice
from components.models.model_rows import Found
from components.models.names import distinct_names
from components.page import CHANGE, Page, complaint
from components.runs import probe_sets
from components.runs.runs import known_owner
from components.tuning.editing import Draft
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.jobs import Job
from merge_core.preflight import template_ref
from merge_core.prepare.opening import open_checkpoint
from merge_core.recipe import build_recipe

BY_ITSELF = "One model by itself"


@dataclass(frozen=True)
class Measuring:
    """What the page sets when the draft changes.

    Args:
        chosen: keys of the probe sets to use.
        models: the models of the draft, to measure one of them.
        alone: measures it.
        fitted: the model that the merge takes after for which `chosen` was last looked over; a visitor's own choice
            stands as long as that can answer it.
        misfit: why sets that were chosen are not any more, as Markdown; "" where none is.
    """

    chosen: gr.CheckboxGroup
    models: Choice
    alone: gr.Button
    fitted: gr.State
    misfit: gr.Markdown

    @property
    def outputs(self) -> list[Any]:
        """In the order of `shown`."""
        return [self.chosen, self.models, self.fitted, self.misfit]


@dataclass(frozen=True)
class Ticked:
    """Which probe sets are chosen; its fields as in `Measuring`."""

    chosen: list[str]
    fitted: str
    misfit: str


def look_over(workspace: Workspace, owner: str, draft: Draft, found: Found, before: Ticked) -> Ticked:
    """What stays chosen for a draft. Sets are looked at anew only where the merge takes after another model.

    Args:
        found: what `Workspace.open` found.
    """
    recipe = draft.recipe
    template = found.get(ref := template_ref(recipe)) if recipe.models else None
    if not isinstance(template, Checkpoint) or str(ref) == before.fitted:
        if before.fitted:
            return before
        return Ticked(probe_sets.fitting(workspace, owner, recipe), "", "")
    kept, why = probe_sets.still_fitting(workspace, owner, before.chosen if before.fitted else [], template)
    misfit = wording.plain_markdown(wording.without_commits(why))
    return Ticked(kept or probe_sets.fitting(workspace, owner, recipe), str(ref), misfit)


def shown(workspace: Workspace, owner: str, draft: Draft, ticked: Ticked) -> tuple[Any, ...]:
    """Updates for `Measuring.outputs`."""
    choices = [(each.words, each.key) for each in probe_sets.offered(workspace, owner)]
    models = [(name, str(ref)) for ref, name in distinct_names(draft.recipe.refs()).items()]
    listed = gr.update(choices=models, words=BY_ITSELF, value=models[0][1] if models else None)
    chosen = gr.CheckboxGroup(choices=choices, value=ticked.chosen)
    return chosen, listed, ticked.fitted, gr.Markdown(ticked.misfit, visible=bool(ticked.misfit))


def measure(
    workspace: Workspace, owner: str, draft: Draft, model: str | None, chosen: Sequence[str], who: Visitor
) -> Job:
    """Queue the measuring of one of the draft's models.

    Raises:
        UserError: no model or no probe set is chosen, or too much waits already.
    """
    ref = next((ref for ref in draft.recipe.refs() if str(ref) == model), None)
    if ref is None:
        raise UserError("No model is chosen.", "Choose one of the list.")
    workspace.check_reach(draft.recipe)
    paths = probe_sets.chosen_paths(workspace, owner, chosen)
    if not paths:
        raise UserError("No probe set is chosen.", "Tick one, or bring your own as a JSONL file.")
    exact = replace(ref, revision=open_checkpoint(ref, who.hub).commit)
    alone = build_recipe("linear", None, [(exact, {"weight": 1.0})])  # names what is to be downloaded
    return who.submit(workspace, "probe", owner, alone, {"model": str(exact), "probes": list(paths)})


def build(page: Page, workspace: Workspace) -> Measuring:
    """The fold's contents, wired but for starting: `Reactions` does that."""
    fitted = gr.State("")
    with gr.Accordion("What to measure", open=False, elem_classes=["tb-fold"], elem_id="tb-measuring"):
        chosen = gr.CheckboxGroup(
            [], label="Probe sets", elem_id="tb-probes", elem_classes=["tb-control"], interactive=True
        )
        misfit = gr.Markdown("", visible=False, elem_id="tb-misfit", elem_classes=["tb-quiet"])
        bring = gr.UploadButton(
            "Bring a probe file (JSONL)",
            file_types=[".jsonl"],
            size="sm",
            elem_classes=["tb-small"],
            elem_id="tb-bring-probe",
        )
        with gr.Row(elem_classes=["tb-actions"]):
            models = Choice(words=BY_ITSELF, elem_id="tb-probe-model")
            alone = gr.Button("Measure", size="sm", elem_classes=["tb-small"], elem_id="tb-probe-alone")

    def brought(owner: str, upload: str | None, ticked: list[str]) -> tuple[Any, Any]:
        if not upload:
            return gr.skip(), ""
        try:
            key = probe_sets.take_in(workspace, known_owner(owner), Path(upload))
        except UserError as error:
            message = error.message.replace(upload, Path(upload).name)
            return gr.skip(), complaint(UserError(message, error.hint))
        finally:
            Path(upload).unlink(missing_ok=True)
        choices = [(each.words, each.key) for each in probe_sets.offered(workspace, owner)]
        return gr.CheckboxGroup(choices=choices, value=[*ticked, key]), ""

    bring.upload(brought, [page.owner, bring, chosen], [chosen, page.notice], **CHANGE)
    return Measuring(chosen, models, alone, fitted, misfit)
