"""The one primary action: merge the draft and measure the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components import wording
from components.runs.probe_sets import chosen_paths
from components.tuning.editing import Draft, without_left_out
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.checkpoint import Checkpoint
from merge_core.checkpoint.lora import parts_of
from merge_core.engine.merging import MEMORY
from merge_core.engine.traffic import traffic
from merge_core.errors import UserError
from merge_core.home import on_space
from merge_core.hub import HubClient
from merge_core.jobs import Job
from merge_core.plan import make_plan
from merge_core.preflight import examine
from merge_core.prepare import affordable_needs
from merge_core.prepare.needs import Needs
from merge_core.prepare.pace import DOWNLOAD, STREAM, seconds_for
from merge_core.recipe import ModelRef, Recipe

MERGE_AND_MEASURE, MERGE = "Merge and measure", "Merge"


def readiness(
    draft: Draft,
    found: Mapping[ModelRef, Checkpoint | UserError],
    probes: int,
    misfit: str,
    hub: HubClient,
    runs: Path,
) -> tuple[bool, str, str, str]:
    """(can start, the button's words, the line beneath it, what the licences ask), the last two as Markdown.

    Args:
        found: what `Workspace.open` found.
        probes: how many probe sets will be run on the result.
        misfit: why sets that were chosen are not any more, as Markdown; "" where none is.
        hub: where the models were opened that are not on this machine.
        runs: the folder below which the merge will be written.
    """
    words = MERGE_AND_MEASURE if probes else MERGE
    if draft.missing:
        return False, words, draft.missing, ""
    if draft.problem is not None:
        return False, words, _said(draft.problem), ""
    unreadable = next((error for error in found.values() if isinstance(error, UserError)), None)
    if unreadable is not None:
        return False, words, _said(unreadable), ""
    opened = {ref: checkpoint for ref, checkpoint in found.items() if isinstance(checkpoint, Checkpoint)}
    verdict = examine(draft.recipe, opened)
    terms = "\n\n".join(wording.plain_markdown(sentence) for sentence in verdict.terms)
    if verdict.problems:
        return False, words, _said(verdict.problems[0]), terms
    needs = affordable_needs(draft.recipe, opened, hub, verdict.bytes_out, runs / "run")
    facts = [*_from_hub(draft.recipe, opened, needs), f"writes {wording.size(verdict.bytes_out)}"]
    here = [c for c in opened.values() if all(part.root is not None for part in parts_of(c))]
    facts.append(_measured(len(opened), len(here) if needs.streams else len(opened), probes, misfit))
    return True, words, " · ".join(facts), terms


def _from_hub(recipe: Recipe, opened: Mapping[ModelRef, Checkpoint], needs: Needs) -> Iterator[str]:
    """What comes over the network, and how long that takes."""
    if needs.streams:
        expected = traffic(make_plan(recipe, opened), MEMORY)
        took = seconds_for(STREAM, expected.likely) or seconds_for(DOWNLOAD, expected.likely)
        most = f", at most {wording.size(expected.most)}" if expected.most > expected.likely else ""
        why = (
            "" if on_space() else ": the disk has no room to download it"
        )  # on a Space, something may make way
        yield f"reads {wording.size(expected.likely)} from the Hub while it merges{_about(took)}{most}{why}"
    elif needs.download:
        yield f"downloads {wording.size(needs.download)}{_about(seconds_for(DOWNLOAD, needs.download))}"


def _about(seconds: float | None) -> str:
    return f" in about {wording.duration(seconds)}" if seconds else ""


def _said(problem: UserError) -> str:
    return wording.plain_markdown(wording.without_commits(str(problem)))


def _measured(models: int, here: int, probes: int, misfit: str) -> str:
    """Args: models: that are merged. here: so many of them are or will be on this machine."""
    if not probes:
        return f"measures nothing: {misfit or 'no probe set is chosen'}"
    on = f"on {probes} probe set{'s' if probes > 1 else ''}"
    if here == models:
        return f"measures {models + 1} models {on}"
    if here:
        return f"measures the merge and {here} of its {models} models {on}: the others stay on the Hub"
    return f"measures the merge alone {on}: its models stay on the Hub"


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
