"""What becomes of a finished merge: look at its model card, download it, push it to the Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components import wording
from components.choice import Choice
from components.models.names import short_name
from components.page import CHANGE, QUICK, Page
from components.publishing.downloads import Tickets, offer
from components.publishing.pushes import Push, Pushes
from components.runs.run_folder import finished_folder, owned_run
from components.scripts import script
from components.visitor import visitor_token
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.jobs import Job
from merge_core.recipe import read_recipe

_REPOSITORY = re.compile(r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}")

_FILES = """<div class="tb-downloads" hidden>
<a class="tb-zip tb-small" download></a>
<details><summary></summary><ul class="tb-files"></ul></details></div>"""


class Files(gr.HTML):
    """Links to a run's files, drawn by `downloads.js`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value=None,
            html_template=_FILES,
            js_on_load=script("publishing/downloads.js"),
            apply_default_css=False,
            **settings,
        )


@dataclass(frozen=True)
class Publish:
    """What the page sets when a run is selected; `read` opens the model card."""

    body: gr.Column
    empty: gr.Markdown
    read: gr.Button
    files: Files
    name: gr.Textbox
    status: gr.Markdown
    stop: gr.Button
    moving: gr.Timer

    @property
    def outputs(self) -> list[Any]:
        """In the order of `Publisher.shown`."""
        return [self.empty, self.body, self.files, self.name, *self.going]

    @property
    def going(self) -> list[Any]:
        """In the order of `going`."""
        return [self.status, self.stop, self.moving]


def repository(owner: str | None, name: str | None) -> str:
    """`owner/name`, as the Hub takes it; a name that holds a slash says both.

    Raises:
        UserError: it is no such name.
    """
    name = (name or "").strip()
    full = name if "/" in name else f"{(owner or '').strip()}/{name}"
    if not _REPOSITORY.fullmatch(full) or ".." in full or "--" in full:
        raise UserError(
            f"'{full[:100]}' is no repository name." if name else "The repository has no name yet.",
            "Write owner and name with letters, digits, dots and dashes, such as ada/my-merge.",
        )
    return full


def suggested_name(job: Job) -> str:
    """What a run's repository might be called: the base and the method."""
    try:
        recipe = read_recipe(job.recipe)
    except UserError:
        return "my-merge"
    first = short_name(recipe.base or recipe.models[0].ref)
    return re.sub(r"[^\w.-]+|\.{2,}|-{2,}", "-", f"{first}-{recipe.method.replace('_', '-')}").strip("-.")[
        :90
    ]


def status_words(push: Push | None) -> str:
    """How an upload goes, as Markdown."""
    if push is None:
        return ""
    if push.error is not None:
        return f"**Not pushed.** {wording.plain_markdown(push.error)}"
    if push.cancelled is not None:
        left = f" {wording.plain_markdown(push.cancelled)}" if push.cancelled else ""
        return f"**Cancelled.** Nothing was published.{left}"
    if push.url is not None:
        return f"**Pushed.** [Open it on the Hub]({push.url})"
    if push.stopping:
        return f"Stopping: {wording.plain_markdown(push.message)}"
    return f"Pushing: {wording.plain_markdown(push.message)} {wording.percent(push.fraction)}"


def going(push: Push | None) -> tuple[str, gr.Button, gr.Timer]:
    """(words, button that stops it, timer) of an upload."""
    under_way = push is not None and not push.over
    stopping = push is not None and push.stopping
    button = gr.Button("Stopping …" if stopping else "Cancel", visible=under_way, interactive=not stopping)
    return status_words(push), button, gr.Timer(active=under_way)


class Publisher:
    """The panel's behaviour: tickets for downloads, uploads under way."""

    def __init__(self, workspace: Workspace, tickets: Tickets, pushes: Pushes) -> None:
        self.workspace, self.tickets, self.pushes = workspace, tickets, pushes

    def shown(self, job: Job | None) -> list[Any]:
        """Updates for `Publish.outputs` once `job` is selected."""
        folder = finished_folder(job, self.workspace)
        if folder is None or job is None:
            return [gr.Markdown(visible=True), gr.Column(visible=False), None, "", *going(None)]
        name = f"tiebreak-{job.id[:8]}"
        files = {**offer(folder, self.tickets.give(folder, name)), "name": name}
        state = going(self.pushes.get(job.id))
        return [gr.Markdown(visible=False), gr.Column(visible=True), files, suggested_name(job), *state]

    def push(self, run: str, owner: str, name: str, private: bool, pull: bool, token: str | None) -> Push:
        """Begin an upload.

        Raises:
            UserError: there is nothing to push, nobody is signed in, or it is being pushed already.
        """
        folder = finished_folder(owned_run(self.workspace, run, owner), self.workspace)
        if folder is None:
            raise UserError("There is no finished run to push.", "Select one, or merge first.")
        if not token:
            raise UserError("Nobody is signed in to the Hub.", sign_in_words(self.workspace))
        client = HubClient(token=token)
        return self.pushes.start(run, folder, client, name, private=private, pull_request=pull)

    def cancel(self, run: str, owner: str) -> Push | None:
        """Ask the selected run's upload to stop."""
        return None if owned_run(self.workspace, run, owner) is None else self.pushes.cancel(run)

    def status(self, run: str, owner: str) -> Push | None:
        """The selected run's upload."""
        return None if owned_run(self.workspace, run, owner) is None else self.pushes.get(run)


def sign_in_words(workspace: Workspace) -> str:
    """How to sign in here."""
    if workspace.on_space:
        return "Sign in with the button at the top of the page."
    return "Run `hf auth login` on this machine, then push again."


def local_token() -> str | None:
    """The token of the account this machine is signed in with."""
    from huggingface_hub import get_token

    return get_token()


def build(page: Page, publisher: Publisher) -> Publish:
    """The panel, wired to the selected run."""
    workspace = publisher.workspace
    gr.Markdown("## Publish", elem_classes=["tb-title"])
    empty = gr.Markdown("A finished run can be downloaded, or pushed to the Hub.", elem_classes=["tb-quiet"])
    with gr.Column(visible=False, elem_classes=["tb-stack"]) as body:
        gr.Markdown(
            "The weights, the recipe, the parents at their commits, licences, these scores, and where the models "
            "disagree.",
            elem_classes=["tb-quiet"],
        )
        read = gr.Button(
            "Read and edit the model card", size="sm", elem_classes=["tb-small"], elem_id="tb-card-open"
        )
        files = Files(elem_id="tb-files")
        with gr.Accordion(
            "Push to the Hub", open=False, elem_classes=["tb-fold"], elem_id="tb-push-fold"
        ) as fold:
            with gr.Row(elem_classes=["tb-actions"]):
                space = Choice(words="Owner", elem_id="tb-namespace")
                name = gr.Textbox(label="Name", max_lines=1, elem_id="tb-repository")
            private = gr.Checkbox(True, label="Private: only you can see it", elem_classes=["tb-control"])
            pull = gr.Checkbox(False, label="As a pull request", elem_classes=["tb-control"])
            with gr.Row(elem_classes=["tb-actions"]):
                push = gr.Button("Push to the Hub", elem_id="tb-push")
                stop = gr.Button("Cancel", visible=False, elem_id="tb-push-stop")
            status = gr.Markdown("", elem_id="tb-push-status", elem_classes=["tb-quiet"])
            moving = gr.Timer(1.0, active=False)

    def token_of(request: gr.Request) -> str | None:
        return visitor_token(request) if workspace.on_space else local_token()

    def unfolded(chosen: str | None, request: gr.Request) -> tuple[Any, Any]:
        try:
            if (token := token_of(request)) is None:
                raise UserError("Nobody is signed in to the Hub.", sign_in_words(workspace))
            names = HubClient(token=token).namespaces()
        except UserError as error:
            return gr.skip(), wording.plain_markdown(str(error))
        owners = [[name, name] for name in names]
        value = chosen if chosen in names else names[0]
        return gr.update(choices=owners, words="Owner", value=value), gr.skip()

    def pushed(
        run: str, owner: str, space: str | None, name: str, private: bool, pull: bool, request: gr.Request
    ) -> tuple[Any, ...]:
        try:
            full = repository(space if isinstance(space, str) else None, name)
            return going(publisher.push(run, owner, full, private, pull, token_of(request)))
        except UserError as error:
            return f"**Not pushed.** {wording.plain_markdown(str(error))}", gr.skip(), gr.skip()

    shown = Publish(body, empty, read, files, name, status, stop, moving)
    selected = [page.run, page.owner]
    fold.expand(unfolded, space, [space, status], **QUICK)
    push.click(pushed, [*selected, space, name, private, pull], shown.going, **CHANGE)
    stop.click(lambda run, owner: going(publisher.cancel(run, owner)), selected, shown.going, **QUICK)
    moving.tick(lambda run, owner: going(publisher.status(run, owner)), selected, shown.going, **QUICK)
    return shown
