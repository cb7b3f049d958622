"""`merge`: merge into a new folder, and measure the result. It imports what it needs when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from merge_core.cli.terminal import Meter, note, size, stop_on_interrupt, took

if TYPE_CHECKING:
    from merge_core.plan import MergePlan
    from merge_core.probe import ProbeSet
    from merge_core.progress import ProgressCallback


def merge(arguments: argparse.Namespace) -> None:
    """Merge into a new folder, say where it is, and measure it where that is asked for."""
    from merge_core.card import model_card
    from merge_core.cli.reproduce import find_recipe
    from merge_core.engine import merge as merge_plan
    from merge_core.engine.output import refuse_occupied
    from merge_core.engine.result import remember_merge
    from merge_core.home import home
    from merge_core.jobs.housekeeping import tidy_up_if_due
    from merge_core.prepare import prepare
    from merge_core.trimming.known import THRESHOLDS

    refuse_occupied(arguments.out)  # before anything is downloaded
    source = find_recipe(arguments.recipe)
    for ref in source.unpinned if source.is_merge else ():
        note(
            f"{ref} is not pinned to a commit: its newest one is taken, which may not be the one merged then."
        )
    with stop_on_interrupt() as stopped, Meter() as meter:
        plan = prepare(
            source.recipe,
            progress=meter,
            cancelled=stopped,
            note=note,
            out=arguments.out,
            stream=arguments.stream or None,
        )
        probes = _fitting_probes(plan, arguments.probe)
        _note_unmeasured(plan, probes)
        made = merge_plan(
            plan,
            arguments.out,
            progress=meter,
            cancelled=stopped,
            threads=arguments.threads,
            memory=arguments.memory,
            extra_files=[("README.md", model_card(plan).encode())],
            known=home() / THRESHOLDS,
            device=arguments.device,
        )
    remember_merge(plan, made)
    print(f"{made.folder}: {size(made.bytes)} in {took(made.seconds)}")
    if made.streamed:
        checked, read = made.checked
        others = "" if checked == read else "; the others could not be compared with theirs"
        print(
            f"read {size(made.streamed)} from the Hub: {checked} of {read} files match the hashes it lists{others}"
        )
    if source.is_merge:
        same = source.matches(made.folder)
        print(
            f"{'the same weights as' if same else 'other weights than'} {source.name}, compared byte for byte"
        )
    if probes:
        _measure(plan, made.folder, probes)
    tidy_up_if_due(home())


def _fitting_probes(plan: MergePlan, paths: Sequence[Path]) -> list[tuple[str, ProbeSet]]:
    """The probes to measure a merge with; whether the models can answer them is found out before the merge."""
    if not paths:
        return []
    from merge_core.jobs.scores import fitting_probes

    return fitting_probes(plan, tuple(map(str, paths)))


def _note_unmeasured(plan: MergePlan, probes: list[tuple[str, ProbeSet]]) -> None:
    """Say before the merge which of its models it will not be compared with."""
    if not probes:
        return
    from merge_core.home import home
    from merge_core.jobs.scores import family_of, unmeasured
    from merge_core.preflight.licences import listed

    if left_out := unmeasured(plan, probes, home()):
        stay, are = ("stay", "are") if len(left_out) > 1 else ("stays", "is")
        alone = ", only the merge is" if len(left_out) == len(family_of(plan)) else ""
        note(f"{listed(left_out)} {stay} on the Hub and {are} not measured{alone}.")


def _measure(plan: MergePlan, merged: Path, probes: list[tuple[str, ProbeSet]]) -> None:
    """Measure a merge and its family, and tell it on its card too. Stopped, it leaves the merge as it is."""
    from dataclasses import replace

    from merge_core.card import model_card
    from merge_core.card.replacing import replace_card
    from merge_core.cli.tables import family_text
    from merge_core.home import home
    from merge_core.jobs.scores import as_merge, family_scores, scores

    with stop_on_interrupt() as stopped, Meter() as meter:

        def measuring(name: str) -> ProgressCallback:
            return lambda told: meter(replace(told, message=f"Measuring {name}: {told.message}"))

        found = family_scores(plan, probes, home(), measuring, stopped)
        found += as_merge(scores(merged, probes, measuring("the merge"), stopped))
    replace_card(merged, model_card(plan, scores=found), merged.absolute().parent)
    print(family_text(found))
