"""`inspect`: show where models disagree, by layer or within one tensor. It imports what it needs when it runs."""

from __future__ import annotations

import argparse

from merge_core.cli.result_files import expect_writable, write_document, write_text
from merge_core.cli.terminal import Meter, note, stop_on_interrupt
from merge_core.errors import UserError


def inspect(arguments: argparse.Namespace) -> None:
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
    expect_writable(arguments.json)
    expect_writable(arguments.html)
    if arguments.elections and arguments.sample_mb is not None:
        raise UserError("--elections needs every weight, --sample-mb reads some.", "Leave one of them out.")
    recipe = inspectable(find_recipe(arguments.recipe).recipe)
    with stop_on_interrupt() as stopped, Meter() as meter:
        try:
            if arguments.sample_mb is not None:
                plan = plan_without_download(recipe, note=note)
                path = make_preview(home(), plan, arguments.sample_mb, arguments.seed, meter, stopped)
            else:
                plan = prepare(
                    recipe, progress=meter, cancelled=stopped, note=note, stream=arguments.stream or None
                )
                path = make_report(
                    home(), plan, meter, stopped, arguments.elections, arguments.threads, arguments.memory
                )
            document = read_json(path)
        except NotKept as made:  # no reason to fail: it is made anew next time
            document = made.value
        report = InterferenceReport.from_json(document)
    if arguments.json:
        write_document(arguments.json, report_document(report))
    if arguments.html:
        from merge_core.interference.page import report_page

        write_text(arguments.html, report_page(report, recipe_density(plan)))
    print(report_text(report, recipe_density(plan), merging_weights(plan)))
    tidy_up_if_due(home())


def _inspect_tensor(arguments: argparse.Namespace) -> None:
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
    expect_writable(arguments.json)
    recipe = inspectable(find_recipe(arguments.recipe).recipe)
    with stop_on_interrupt() as stopped, Meter() as meter:
        plan = prepare(recipe, progress=meter, cancelled=stopped, note=note)
        try:
            document = read_json(
                make_blocks(
                    home(), plan, arguments.tensor, meter, stopped, arguments.threads, arguments.memory
                )
            )
        except NotKept as made:
            document = made.value
    if arguments.json:
        write_document(arguments.json, document)
    rule = plan.tensors[find_tensor(plan, arguments.tensor)].trim
    assert rule is not None
    voters = int((rule.voting.sign != 0).sum())
    print(blocks_text(BlockCounts.from_json(document), float(rule.density.mean()), voters))
