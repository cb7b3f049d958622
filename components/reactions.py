"""What the page does when something changes: the draft, the selected run, or work in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.event_fields import Refused, number, text
from components.header import whereabouts
from components.interference import conflict_map, drilldown, inspecting, tensor_blocks
from components.link import Link, link_query, read_query
from components.models.model_rows import Found, model_rows
from components.page import CHANGE, QUICK, Page, complaint
from components.publishing import publish
from components.runs import measuring, probe_sets, results, runs
from components.runs.start import readiness, start
from components.tuning.editing import Draft
from components.tuning.recipe_panel import parse
from components.visitor import visitor
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.jobs import Job
from merge_core.jobs.retention import kept_words

LOOK_EVERY = 0.4  # seconds, while something is under way
# Stacked on a narrow screen, the tray is far from the button that starts a run.
SHOW_RUNS = """() => {
  if (innerWidth <= 760) document.querySelector("#tb-runs")?.scrollIntoView({ behavior: "smooth", block: "center" });
}"""
LOOK_AT_REST = 4.0  # seconds: another tab of the same visitor may start something


@dataclass(frozen=True)
class Parts:
    """Every component that reacts. `moving` ticks once the visitor is known, faster while something is under way."""

    mark: gr.HTML
    models: gr.HTML
    editor: gr.Code
    link: Link
    start: gr.Button
    beneath: gr.Markdown
    licences: gr.Accordion
    terms: gr.Markdown
    map: conflict_map.ConflictMap
    cell: drilldown.CellView
    tray: runs.Tray
    measuring: measuring.Measuring
    results: results.Results
    publish: publish.Publish
    moving: gr.Timer
    asked: gr.State
    closer: gr.State
    seen: gr.State


class Reactions:
    """The handlers of one page. Each checks whose runs it is asked about: whoever calls it may be anybody."""

    def __init__(self, page: Page, parts: Parts, workspace: Workspace, publisher: publish.Publisher) -> None:
        self.page, self.parts, self.workspace, self.publisher = page, parts, workspace, publisher
        self.opening = page.draft.value.text

    def wire(self, demo: gr.Blocks) -> None:
        """Connect the handlers to the page's events."""
        page, parts = self.page, self.parts
        chosen, fitted, misfit = parts.measuring.chosen, parts.measuring.fitted, parts.measuring.misfit
        go_shown = [parts.start, parts.beneath, parts.licences, parts.terms]
        draft_shown = [
            parts.mark,
            parts.models,
            parts.editor,
            parts.link,
            *go_shown,
            *parts.measuring.outputs,
        ]
        map_shown = [parts.map, parts.asked, parts.moving]
        runs_shown = [parts.tray, *parts.results.outputs, *parts.publish.outputs, parts.seen, parts.moving]

        opened = demo.load(
            self.open,
            page.owner,
            [page.owner, page.draft, page.run, page.redraw, page.notice, parts.moving],
            **CHANGE,
        )
        for event in (opened.then, page.draft.change):
            event(
                self.show_draft,
                [page.draft, page.run, page.owner, chosen, fitted, misfit],
                draft_shown,
                **QUICK,
            )
            event(self.ask_map, [page.draft, page.owner, parts.asked], map_shown, **QUICK)
        parts.map.sample(self.sample_for_map, [page.draft, page.owner, parts.asked], map_shown, **CHANGE)
        parts.map.elections(
            self.elections_for_map, [page.draft, page.owner, parts.asked], map_shown, **CHANGE
        )
        conflict_map.edit(parts.map, page, parts.asked)
        parts.map.download(self.download_for_map, [page.draft, page.owner, parts.asked], map_shown, **CHANGE)
        for event in (opened.then, page.run.change):
            event(self.show_runs, [page.owner, page.run, parts.seen], runs_shown, **QUICK)
        page.run.change(lambda d, r: self.query(d, r), [page.draft, page.run], parts.link, **QUICK)
        looked_after = [page.draft, page.owner, parts.asked, parts.closer]
        closer_shown = [parts.cell, parts.closer]
        parts.moving.tick(self.look_at_map, looked_after, [*map_shown, *closer_shown], **QUICK)
        asking = [page.owner, parts.asked, parts.closer]
        parts.cell.blocks(self.ask_blocks, asking, [*closer_shown, parts.moving], **CHANGE)
        parts.moving.tick(self.show_runs, [page.owner, page.run, parts.seen], runs_shown, **QUICK)
        chosen.change(self.show_go, [page.draft, page.owner, chosen, misfit], go_shown, **QUICK)
        started = [page.run, page.notice, parts.moving]
        begun = parts.start.click(self.start, [page.draft, page.owner, chosen], started, **CHANGE)
        begun.then(None, js=SHOW_RUNS)
        alone = [page.draft, page.owner, parts.measuring.models, chosen]
        parts.measuring.alone.click(self.measure, alone, started, **CHANGE)
        parts.tray.pick(self.pick, page.owner, [page.run, page.notice], **CHANGE)
        parts.tray.cancel(self.cancel, page.owner, [page.notice, parts.moving], **QUICK)
        parts.tray.again(self.again, page.owner, [page.run, page.notice, parts.moving], **CHANGE)

    # Opening ------------------------------------------------------------------------------------------------------

    def open(self, owner: Any, request: gr.Request) -> tuple[Any, ...]:
        """(owner, draft, run, redraws, notice, timer) of a visitor who arrives, perhaps by a link."""
        try:
            runs.known_owner(owner)
        except Refused:
            owner = runs.new_owner()
        try:
            text, run = read_query(dict(request.query_params))
            draft = Draft.of(parse(text or self.opening, self.workspace))
        except UserError as error:
            return owner, gr.skip(), "", 1, complaint(error), gr.Timer(active=True)
        store = self.workspace.store
        job = (
            store.get(run, owner) if run else runs.newest_merge(store, owner, draft.recipe if text else None)
        )
        lost = complaint(_gone()) if run and job is None else ""
        return owner, draft, job.id if job else "", 1, lost, gr.Timer(active=True)

    # The draft ----------------------------------------------------------------------------------------------------

    def show_draft(
        self,
        draft: Draft,
        run: str,
        owner: str,
        chosen: list[str],
        fitted: str,
        misfit: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """(mark, models, editor, link, start button, line beneath it, licences, what to measure) for a draft."""
        owner = runs.known_owner(owner)
        hub = visitor(self.workspace, request).hub
        found = self.workspace.open(draft.recipe, hub)
        before = measuring.Ticked(chosen, fitted, misfit)
        ticked = measuring.look_over(self.workspace, owner, draft, found, before)
        measured = measuring.shown(self.workspace, owner, draft, ticked)
        go = self._go(draft, found, owner, ticked.chosen, ticked.misfit, hub)
        where = whereabouts(draft.recipe, self.workspace)
        rows = model_rows(draft.recipe, found)
        return where, rows, draft.text, self.query(draft, run), *go, *measured

    def show_go(
        self, draft: Draft, owner: str, chosen: list[str], misfit: str, request: gr.Request
    ) -> tuple[Any, ...]:
        """(start button, line beneath it, licences) once other probe sets are chosen."""
        hub = visitor(self.workspace, request).hub
        found = self.workspace.open(draft.recipe, hub)
        return self._go(draft, found, runs.known_owner(owner), chosen, misfit, hub)

    def _go(
        self, draft: Draft, found: Found, owner: str, chosen: list[str], misfit: str, hub: HubClient
    ) -> tuple[Any, ...]:
        probes = len(probe_sets.chosen_paths(self.workspace, owner, chosen))
        runs_folder = self.workspace.store.root / "runs"
        ready, words, beneath, terms = readiness(draft, found, probes, misfit, hub, runs_folder)
        return gr.Button(words, interactive=ready), beneath, gr.Accordion(visible=bool(terms)), terms

    def query(self, draft: Draft, run: str) -> dict[str, str]:
        """What the address bar shows."""
        return link_query(draft.text, run, default=self.opening)

    def ask_map(
        self, draft: Draft, owner: str, asked: inspecting.Asked, request: gr.Request
    ) -> tuple[Any, ...]:
        """(map, asked, timer) once the draft needs another map."""
        who = visitor(self.workspace, request)
        state = inspecting.ask(self.workspace, draft, runs.known_owner(owner), asked, who)
        return self._mapped(state, draft, asked)

    def download_for_map(
        self, draft: Draft, owner: str, asked: inspecting.Asked, request: gr.Request
    ) -> tuple[Any, ...]:
        """(map, asked, timer) once the visitor wants the draft's models downloaded."""
        owner, who = runs.known_owner(owner), visitor(self.workspace, request)
        state = inspecting.ask(self.workspace, draft, owner, asked, who, download=True)
        return self._mapped(state, draft, asked)

    def sample_for_map(
        self, draft: Draft, owner: str, asked: inspecting.Asked, request: gr.Request, event: gr.EventData
    ) -> tuple[Any, ...]:
        """(map, asked, timer) once the visitor wants more or less of the draft's models read."""
        owner, who = runs.known_owner(owner), visitor(self.workspace, request)
        budget = next((mb for mb in inspecting.SAMPLES if mb == number(event, "mb")), inspecting.SAMPLE_MB)
        state = inspecting.ask(self.workspace, draft, owner, asked, who, sample_mb=budget)
        return self._mapped(state, draft, asked)

    def elections_for_map(
        self, draft: Draft, owner: str, asked: inspecting.Asked, request: gr.Request
    ) -> tuple[Any, ...]:
        """(map, asked, timer) once the visitor wants to see who is outvoted."""
        owner, who = runs.known_owner(owner), visitor(self.workspace, request)
        state = inspecting.ask(self.workspace, draft, owner, asked, who, elections=True)
        return self._mapped(state, draft, asked)

    def look_at_map(
        self, draft: Draft, owner: str, asked: inspecting.Asked, closer: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        """(map, asked, timer, cell, closer) while an inspection or the count of a tensor runs."""
        owner = runs.known_owner(owner)
        state = inspecting.look(self.workspace, owner, asked)
        mapped = (gr.skip(), gr.skip(), gr.skip()) if state is None else self._mapped(state, draft, asked)
        blocks = tensor_blocks.look(self.workspace, owner, closer)
        near = (gr.skip(), gr.skip()) if blocks is None else (tensor_blocks.update(blocks), blocks.closer)
        return *mapped, *near

    def ask_blocks(
        self,
        owner: str,
        asked: inspecting.Asked,
        closer: Mapping[str, Any],
        request: gr.Request,
        event: gr.EventData,
    ) -> tuple[Any, ...]:
        """(cell, closer, timer) once the visitor wants one tensor by heads or rows, or none any more."""
        owner, tensor = runs.known_owner(owner), text(event, "tensor")
        if not tensor:
            inspecting.give_up(self.workspace, owner, closer)
            return {"state": "empty"}, {}, gr.skip()
        who = visitor(self.workspace, request)
        state = tensor_blocks.ask(self.workspace, owner, asked, closer, tensor, who)
        moving = gr.Timer(LOOK_EVERY) if state.closer.get("job") else gr.skip()
        return tensor_blocks.update(state), state.closer, moving

    def _mapped(
        self, state: inspecting.MapState | None, draft: Draft, asked: inspecting.Asked
    ) -> tuple[Any, ...]:
        shown = conflict_map.shown(state, draft, asked)
        if state is None:
            return shown, gr.skip(), gr.skip()
        moving = gr.Timer(LOOK_EVERY) if state.asked.get("job") else gr.skip()
        return shown, state.asked, moving

    # Runs ---------------------------------------------------------------------------------------------------------

    def start(self, draft: Draft, owner: str, chosen: list[str], request: gr.Request) -> tuple[Any, ...]:
        """(selected run, notice, timer) after queueing the draft's merge."""
        who = visitor(self.workspace, request)
        return _started(lambda: start(draft, runs.known_owner(owner), self.workspace, chosen, who))

    def measure(
        self, draft: Draft, owner: str, model: str, chosen: list[str], request: gr.Request
    ) -> tuple[Any, ...]:
        """(selected run, notice, timer) after queueing the measuring of one model."""
        owner, who = runs.known_owner(owner), visitor(self.workspace, request)
        return _started(lambda: measuring.measure(self.workspace, owner, draft, model, chosen, who))

    def pick(self, owner: str, event: gr.EventData) -> tuple[Any, ...]:
        """(selected run, notice) after a click in the tray."""
        job = self._job(owner, event)
        return (job.id, "") if job else (gr.skip(), complaint(_gone()))

    def cancel(self, owner: str, event: gr.EventData) -> tuple[Any, ...]:
        """(notice, timer) after asking a run to stop."""
        job = self._job(owner, event)
        if job is None:
            return complaint(_gone()), gr.skip()
        self.workspace.store.cancel(job.id, owner)
        return "", gr.Timer(LOOK_EVERY)

    def again(self, owner: str, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """(selected run, notice, timer) after asking for a failed or cancelled run once more."""
        job = self._job(owner, event)
        if job is None:
            return gr.skip(), complaint(_gone()), gr.skip()
        failed, who = job, visitor(self.workspace, request)
        return _started(lambda: who.again(self.workspace, failed))

    def show_runs(self, owner: str, run: str, seen: Mapping[str, Any]) -> tuple[Any, ...]:
        """(tray, results, publishing, seen, timer): only what differs from what the page has seen."""
        store = self.workspace.store
        jobs = runs.runs_of(store, runs.known_owner(owner))
        selected = next((job for job in jobs if job.id == run), None)
        pace = LOOK_AT_REST if all(job.final for job in store.list(owner)) else LOOK_EVERY
        now = {
            "tray": runs.tray(store, owner, jobs, run),
            "run": [run, selected.state if selected else ""],
            "pace": pace,
        }
        same = {key for key in now if now[key] == seen.get(key)}
        outputs = len(self.parts.results.outputs), len(self.parts.publish.outputs)
        measured = [gr.skip()] * outputs[0] if "run" in same else results.shown(selected)
        published = [gr.skip()] * outputs[1] if "run" in same else self.publisher.shown(selected)
        return (
            gr.skip() if "tray" in same else now["tray"],
            *measured,
            *published,
            now,
            gr.skip() if "pace" in same else gr.Timer(pace),
        )

    def _job(self, owner: str, event: gr.EventData) -> Job | None:
        return self.workspace.store.get(text(event, "id"), runs.known_owner(owner))


def _started(queue: Callable[[], Job]) -> tuple[Any, ...]:
    """(selected run, notice, timer) after queueing a job, or the notice that says why not."""
    try:
        job = queue()
    except UserError as error:
        return gr.skip(), complaint(error), gr.skip()
    return job.id, "", gr.Timer(LOOK_EVERY)


def _gone() -> UserError:
    return UserError(
        "That run belongs to another browser, or it is gone.",
        f"Only who started a run sees it, for {kept_words()}; its recipe can be sent as a link.",
    )
