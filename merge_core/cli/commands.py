"""What the commands do beside `merge` and `inspect`. Each imports what it needs itself: the others start at once."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from merge_core.cli.result_files import expect_writable, write_document
from merge_core.cli.terminal import Meter, say, size, stop_on_interrupt
from merge_core.errors import UserError, UserErrors


def check(arguments: argparse.Namespace) -> None:
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
        say(line)
    if verdict.problems:
        raise UserErrors(verdict.problems)
    plan = make_plan(recipe, checkpoints)
    for line in describe(plan).split("\n"):
        say(line)
    needs = affordable_needs(recipe, checkpoints)
    cache_folder = None
    if needs.download or needs.streams:
        from merge_core.hub.cache import root

        cache_folder = root()
    for line in resource_lines(plan, needs, cache_folder):
        say(line)
    require_room_for(needs, None)


def cache(arguments: argparse.Namespace) -> None:
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


def probe(arguments: argparse.Namespace) -> None:
    """Measure a model on probe files."""
    from dataclasses import asdict

    from merge_core.cli.tables import scores_text
    from merge_core.engine.materialise import whole_folder
    from merge_core.prepare.opening import open_checkpoint
    from merge_core.probe import load_probe, run_probe
    from merge_core.recipe import ModelRef

    expect_writable(arguments.json)
    probes = [load_probe(path) for path in arguments.probe]
    checkpoint = open_checkpoint(ModelRef.parse(arguments.model))
    with stop_on_interrupt() as stopped, Meter() as meter:
        if checkpoint.root is None:
            from merge_core.hub import HubClient

            checkpoint = HubClient().download(checkpoint, meter, stopped)
        with whole_folder(checkpoint, Path(tempfile.gettempdir()), stopped) as folder:
            scores = run_probe(folder, probes, meter, stopped)
    if arguments.json:
        write_document(arguments.json, [asdict(score) for score in scores])
    print(scores_text(scores))


def push(arguments: argparse.Namespace) -> None:
    """Upload a folder as the account this machine is signed in with."""
    from merge_core.hub import HubClient

    _expect_merge(arguments.folder)
    with stop_on_interrupt() as stopped, Meter() as meter:
        published = HubClient().publish(
            arguments.folder,
            arguments.repo_id,
            private=arguments.private,
            pull_request=arguments.pr,
            progress=meter,
            cancelled=stopped,
        )
    print(published.pull_request_url or published.url)


def methods(arguments: argparse.Namespace) -> None:
    """List the merge methods with their parameters."""
    from merge_core.cli.tables import methods_document, methods_text
    from merge_core.methods import METHODS

    if arguments.json:
        print(json.dumps(methods_document(METHODS.values()), indent=2))
    else:
        print(methods_text(METHODS.values()))


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
