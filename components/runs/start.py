"""The one primary action: merge the draft and measure the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components import wording
from components.runs.probe_sets import chosen_paths
from components.tuning.editing import Draft, without_left_out
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.jobs import Job
from merge_core.preflight import examine
from merge_core.prepare.needs import needs_of
from merge_core.prepare.pace import DOWNLOAD, seconds_for
from merge_core.recipe import ModelRef

MERGE_AND_MEASURE, MERGE = "Merge and measure", "Merge"


def readiness(
    draft: Draft, found: Mapping[ModelRef, Checkpoint | UserError], probes: int, hub: HubClient
) -> tuple[bool, str, str, str]:
    """(can start, the button's words, the line beneath it, what the licences ask), the last two as Markdown.

    Args:
        found: what `Workspace.open` found.
        probes: how many probe sets will be run on the result.
        hub: where the models were opened that are not on this machine.
    """
    words = MERGE_AND_MEASURE if probes else MERGE
    if draft.problem is not None:
        return False, words, wording.plain_markdown(str(draft.problem)), ""
    unreadable = next((error for error in found.values() if isinstance(error, UserError)), None)
    if unreadable is not None:
        return False, words, wording.plain_markdown(str(unreadable)), ""
    opened = {ref: checkpoint for ref, checkpoint in found.items() if isinstance(checkpoint, Checkpoint)}
    verdict = examine(draft.recipe, opened)
    terms = "\n\n".join(wording.plain_markdown(sentence) for sentence in verdict.terms)
    if verdict.problems:
        return False, words, wording.plain_markdown(str(verdict.problems[0])), terms
    needs = needs_of(opened, hub, output=verdict.bytes_out)
    facts = [f"writes {wording.size(verdict.bytes_out)}"]
    if needs.download:
        took = seconds_for(DOWNLOAD, needs.download)
        about = f" in about {wording.duration(took)}" if took else ""
        facts.insert(0, f"downloads {wording.size(needs.download)}{about}")
    facts.append(_measured(len(draft.recipe.refs()) + 1, probes))
    return True, words, " · ".join(facts), terms


def _measured(models: int, probes: int) -> str:
    if not probes:
        return "measures nothing: no probe set is chosen"
    return f"measures {models} models on {probes} probe set{'s' if probes > 1 else ''}"


def start(draft: Draft, owner: str, workspace: Workspace, chosen: Sequence[str], who: Visitor) -> Job:
    """Queue the draft's merge, measured on the chosen probe sets.

    Raises:
        UserError: the draft cannot be merged, or too many merges wait already.
    """
    if draft.problem is not None:
        raise draft.problem
    workspace.check_reach(draft.recipe)
    options: dict[str, Any] = {"probes": list(chosen_paths(workspace, owner, chosen))}
    return who.submit(workspace, "merge", owner, without_left_out(draft.recipe), options)
