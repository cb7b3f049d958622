"""What each command does. Each imports what it needs itself, so that the others start at once."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merge_core.cli.terminal import Meter, duration, plain, size
from merge_core.errors import UserError, UserErrors

if TYPE_CHECKING:
    from merge_core.plan import MergePlan
    from merge_core.probe import ProbeSet
    from merge_core.progress import ProgressCallback

Arguments = argparse.Namespace


def merge(arguments: Arguments) -> None:
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
        _note(
            f"{ref} is not pinned to a commit: its newest one is taken, which may not be the one merged then."
        )
    with _stop_on_interrupt() as stopped, Meter() as meter:
        plan = prepare(
            source.recipe,
            progress=meter,
            cancelled=stopped,
            note=_note,
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
    print(f"{made.folder}: {size(made.bytes)} in {duration(made.seconds)}")
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
        _note(f"{listed(left_out)} {stay} on the Hub and {are} not measured{alone}.")


def _measure(plan: MergePlan, merged: Path, probes: list[tuple[str, ProbeSet]]) -> None:
    """Measure a merge and its family, and tell it on its card too. Stopped, it leaves the merge as it is."""
    from dataclasses import replace

    from merge_core.card import model_card
    from merge_core.card.replacing import replace_card
    from merge_core.cli.tables import family_text
    from merge_core.home import home
    from merge_core.jobs.scores import as_merge, family_scores, scores

    with _stop_on_interrupt() as stopped, Meter() as meter:

        def measuring(name: str) -> ProgressCallback:
            return lambda told: meter(replace(told, message=f"Measuring {name}: {told.message}"))

        found = family_scores(plan, probes, home(), measuring, stopped)
        found += as_merge(scores(merged, probes, measuring("the merge"), stopped))
    replace_card(merged, model_card(plan, scores=found), merged.absolute().parent)
    print(family_text(found))


def inspect(arguments: Arguments) -> None:
    """Show where the recipe's models disagree, by layer."""
    from merge_core.cli.reproduce import find_recipe
    from merge_core.cli.tables import report_document, report_text
    from merge_core.home import home
    from merge_core.interference import InterferenceReport, inspectable
    from merge_core.interference.sampling import plan_without_download
    from merge_core.interference.summary import merging_weights, recipe_density
    from merge_core.jobs.housekeeping import tidy_up_if_due
    from merge_core.jobs.inspections import make_preview, make_report
    from merge_core.json_files import NotKept, read_json
    from merge_core.prepare import prepare

    if arguments.tensor is not None:
        return _inspect_tensor(arguments)
    _expect_writable(arguments.json)
    _expect_writable(arguments.html)
    if arguments.elections and arguments.sample_mb is not None:
        raise UserError("--elections needs every weight, --sample-mb reads some.", "Leave one of them out.")
    recipe = inspectable(find_recipe(arguments.recipe).recipe)
    with _stop_on_interrupt() as stopped, Meter() as meter:
        try:
            if arguments.sample_mb is not None:
                plan = plan_without_download(recipe, note=_note)
                path = make_preview(home(), plan, arguments.sample_mb, arguments.seed, meter, stopped)
            else:
                plan = prepare(
                    recipe, progress=meter, cancelled=stopped, note=_note, stream=arguments.stream or None
                )
                path = make_report(
                    home(), plan, meter, stopped, arguments.elections, arguments.threads, arguments.memory
                )
            document = read_json(path)
        except NotKept as made:  # no reason to fail: it is made anew next time
            document = made.value
        report = InterferenceReport.from_json(document)
    if arguments.json:
        _write(arguments.json, report_document(report))
    if arguments.html:
        from merge_core.interference.page import report_page

        _write_text(arguments.html, report_page(report, recipe_density(plan)))
    print(report_text(report, recipe_density(plan), merging_weights(plan)))
    tidy_up_if_due(home())


def _inspect_tensor(arguments: Arguments) -> None:
    """Show in which heads or rows of one tensor the recipe's models disagree."""
    from merge_core.cli.block_table import blocks_text
    from merge_core.cli.reproduce import find_recipe
    from merge_core.home import home
    from merge_core.interference import inspectable
    from merge_core.interference.block_counts import BlockCounts, find_tensor
    from merge_core.jobs.inspections import make_blocks
    from merge_core.json_files import NotKept, read_json
    from merge_core.prepare import prepare

    others = {
        "--elections": arguments.elections,
        "--html": arguments.html,
        "--sample-mb": arguments.sample_mb,
    }
    for option, value in others.items():
        if value:
            raise UserError(f"{option} is of all tensors, --tensor of one.", "Leave one of them out.")
    _expect_writable(arguments.json)
    recipe = inspectable(find_recipe(arguments.recipe).recipe)
    with _stop_on_interrupt() as stopped, Meter() as meter:
        plan = prepare(recipe, progress=meter, cancelled=stopped, note=_note)
        try:
            document = read_json(
                make_blocks(
                    home(), plan, arguments.tensor, meter, stopped, arguments.threads, arguments.memory
                )
            )
        except NotKept as made:
            document = made.value
    if arguments.json:
        _write(arguments.json, document)
    rule = plan.tensors[find_tensor(plan, arguments.tensor)].trim
    assert rule is not None
    voters = int((rule.voting.sign != 0).sum())
    print(blocks_text(BlockCounts.from_json(document), float(rule.density.mean()), voters))


def check(arguments: Arguments) -> None:
    """Say of each model whether it can be merged, and what that would take, before any weight is read."""
    from merge_core.cli.describe import describe
    from merge_core.cli.reproduce import find_recipe
    from merge_core.cli.verdicts import model_lines, resource_lines
    from merge_core.plan import make_plan
    from merge_core.preflight import examine, examine_each
    from merge_core.prepare import affordable_needs, open_all, require_room_for

    recipe = find_recipe(arguments.recipe).recipe
    checkpoints = open_all(recipe)
    verdict = examine(recipe, checkpoints)
    for line in model_lines(recipe, checkpoints, examine_each(recipe, checkpoints), verdict):
        _say(line)
    if verdict.problems:
        raise UserErrors(verdict.problems)
    plan = make_plan(recipe, checkpoints)
    for line in describe(plan).split("\n"):
        _say(line)
    needs = affordable_needs(recipe, checkpoints)
    cache_folder = None
    if needs.download or needs.streams:
        from merge_core.hub.cache import root

        cache_folder = root()
    for line in resource_lines(plan, needs, cache_folder):
        _say(line)
    require_room_for(needs, None)


def cache(arguments: Arguments) -> None:
    """List the models and finished runs on this machine with what they take, or remove some."""
    from merge_core.cli.tables import kept_document, kept_text
    from merge_core.home import home
    from merge_core.hub.cache import root
    from merge_core.hub.cached_models import cached_models, remove_models
    from merge_core.jobs import JobStore
    from merge_core.jobs.kept import finished_runs, models_in_use

    store = JobStore(home())
    if not arguments.remove:
        models, runs = cached_models(), finished_runs(store)
        if arguments.json:
            print(json.dumps(kept_document(models, runs), indent=2))
        else:
            print(kept_text(models, runs, root(), home()))
        return
    runs_by_id = {run.job.id: run for run in finished_runs(store)}
    wanted = [name for name in arguments.remove if name not in runs_by_id]
    freed = remove_models(wanted, models_in_use(store)) if wanted else 0
    for name in arguments.remove:
        if name in runs_by_id:
            store.remove(name, runs_by_id[name].job.owner)
            freed += runs_by_id[name].bytes
    print(json.dumps({"freed": freed}) if arguments.json else f"freed {size(freed)}")


def probe(arguments: Arguments) -> None:
    """Measure a model on probe files."""
    from dataclasses import asdict

    from merge_core.cli.tables import scores_text
    from merge_core.engine.materialise import whole_folder
    from merge_core.prepare.opening import open_checkpoint
    from merge_core.probe import load_probe, run_probe
    from merge_core.recipe import ModelRef

    _expect_writable(arguments.json)
    probes = [load_probe(path) for path in arguments.probe]
    checkpoint = open_checkpoint(ModelRef.parse(arguments.model))
    with _stop_on_interrupt() as stopped, Meter() as meter:
        if checkpoint.root is None:
            from merge_core.hub import HubClient

            checkpoint = HubClient().download(checkpoint, meter, stopped)
        with whole_folder(checkpoint, Path(tempfile.gettempdir()), stopped) as folder:
            scores = run_probe(folder, probes, meter, stopped)
    if arguments.json:
        _write(arguments.json, [asdict(score) for score in scores])
    print(scores_text(scores))


def push(arguments: Arguments) -> None:
    """Upload a folder as the account this machine is signed in with."""
    from merge_core.hub import HubClient

    _expect_merge(arguments.folder)
    with _stop_on_interrupt() as stopped, Meter() as meter:
        published = HubClient().publish(
            arguments.folder,
            arguments.repo_id,
            private=arguments.private,
            pull_request=arguments.pr,
            progress=meter,
            cancelled=stopped,
        )
    print(published.pull_request_url or published.url)


def methods(arguments: Arguments) -> None:
    """List the merge methods with their parameters."""
    from merge_core.cli.tables import methods_document, methods_text
    from merge_core.methods import METHODS

    if arguments.json:
        print(json.dumps(methods_document(METHODS.values()), indent=2))
    else:
        print(methods_text(METHODS.values()))


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """A check that Ctrl-C turns true, so that work stops where it can tidy up; a second Ctrl-C is final."""
    stop = threading.Event()

    def interrupted(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _say(line: str) -> None:
    """Print a line, indented or not, whatever names are in it."""
    print(f"  {plain(line)}" if line.startswith(" ") else plain(line))


def _note(sentence: str) -> None:
    print(f"note: {plain(sentence)}", file=sys.stderr)


def _expect_writable(path: Path | None) -> None:
    """Find out before the work, not after it, that its result has nowhere to go."""
    if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        raise UserError(f"{path} cannot be written.", "Name a file in a folder of yours that exists.")


def _expect_merge(folder: Path) -> None:
    """Refuse, before anything is sent, a folder that no merge made: its files may not be meant for others."""
    from merge_core.checkpoint import open_folder
    from merge_core.cli.reproduce import RECIPE_FILE

    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.", "Merge into it first.")
    open_folder(folder, str(folder))
    if not (folder / RECIPE_FILE).is_file():
        raise UserError(
            f"{folder} holds no {RECIPE_FILE}, which every merge has: it is no merge.",
            "Name the folder that `merge` made; other models are uploaded with `hf upload`.",
        )


def _write_text(path: Path, text: str) -> None:
    with _writing(path):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError:
            if path.is_file():  # half of a report is none
                path.unlink()
            raise


def _write(path: Path, document: Any) -> None:
    from merge_core.json_files import write_json

    with _writing(path):
        write_json(path, document)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}.", "Name a file in a folder of yours."
        ) from None
