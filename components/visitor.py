"""Who asks: the account in whose name this page talks to the Hub, and what is queued for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.workspace import Workspace
from merge_core.checkpoint import Checkpoint
from merge_core.errors import TryAgain, UserError
from merge_core.hub import HubClient
from merge_core.jobs import Job, JobKind
from merge_core.jobs.fetching import retry_fetched, submit_fetched
from merge_core.preflight import bytes_out, template_ref
from merge_core.prepare import open_all, pinned
from merge_core.prepare.needs import Needs, NoRoom, needs_of, needs_streamed
from merge_core.recipe import ModelRef, Recipe, read_recipe, write_recipe

RECALL = 30.0  # seconds: one change of the draft makes several handlers look at the same models


@dataclass(frozen=True)
class Visitor:
    """One visitor, for the length of one event.

    Args:
        hub: the Hub as they may see it: signed in on a Space, else as the machine's own account.
        account: the name they signed in with on a Space, where the Hub answers them otherwise than it answers the
            worker; "" elsewhere.
    """

    hub: HubClient
    account: str

    def submit(
        self, workspace: Workspace, kind: JobKind, owner: str, recipe: Recipe, options: Mapping[str, Any]
    ) -> Job:
        """Queue work on the recipe's models as they are now: each at its commit.

        What only this visitor may read is downloaded here first, with their token; the worker never has it.

        Raises:
            UserError: a model cannot be opened, too much waits already, or the disk has no room for it; where it has
                none for the models alone, a merge or a comparison leaves their weights on the Hub.
        """
        store, account = workspace.store, self.account
        checkpoints = open_all(recipe, self.hub)
        text = write_recipe(pinned(recipe, checkpoints))

        def queue(options: Mapping[str, Any], needs: Needs) -> Job:
            if account and needs.download:
                return submit_fetched(store, kind, owner, text, options, self.hub, needs, account)
            return store.submit(kind, owner, text, options, needs=needs, account=account)

        return self._queue(kind, recipe, checkpoints, options, queue)

    def again(self, workspace: Workspace, job: Job) -> Job:
        """Queue a failed or cancelled run of theirs once more, on the same commits.

        Raises:
            UserError: see `submit`, or the run has not failed.
        """
        store = workspace.store
        recipe = read_recipe(job.recipe, "the run's recipe")
        options = {
            key: value for key, value in job.options.items() if key != "stream"
        }  # there may be room now

        def queue(options: Mapping[str, Any], needs: Needs) -> Job:
            if self.account and needs.download:
                return retry_fetched(store, job, self.hub, needs, options)
            return store.retry(job.id, job.owner, needs=needs, options=options)

        return self._queue(job.kind, recipe, open_all(recipe, self.hub), options, queue)

    def _queue(
        self,
        kind: JobKind,
        recipe: Recipe,
        checkpoints: Mapping[ModelRef, Checkpoint],
        options: Mapping[str, Any],
        queue: Callable[[Mapping[str, Any], Needs], Job],
    ) -> Job:
        """Queue work with what it takes: its models whole where they have room, else with their weights on the Hub."""
        if "sample_mb" in options:  # reads parts of public models where they are
            return queue(options, Needs())
        try:
            return queue(options, self._needs(kind, recipe, checkpoints))
        except NoRoom as full:
            streamed = self._needs(kind, recipe, checkpoints, stream=True)
            if not streamed.streams or kind == "probe" or "tensor" in options:
                raise
            if self.account:
                require_public(streamed.streams, full)
            return queue({**options, "stream": True}, streamed)

    def _needs(
        self,
        kind: JobKind,
        recipe: Recipe,
        checkpoints: Mapping[ModelRef, Checkpoint],
        *,
        stream: bool = False,
    ) -> Needs:
        """What the work takes with whole models here, or with their weights left on the Hub."""
        template = template_ref(recipe)
        output = bytes_out(recipe, checkpoints[template]) if kind == "merge" else 0
        if stream:
            return needs_streamed(checkpoints, template, self.hub, output)
        return needs_of(checkpoints, self.hub, output)


def require_public(models: Iterable[str], full: NoRoom) -> None:
    """Refuse to have the worker read models that only the visitor may read: it does not have their token.

    Args:
        models: `owner/name@commit` of each.
        full: why they are not downloaded.

    Raises:
        UserError: one is not public.
    """
    nobody = HubClient()
    for name in models:
        try:
            public = not nobody.files(ModelRef.parse(name)).gated
        except TryAgain:
            raise
        except UserError:
            public = False
        if not public:
            raise UserError(
                f"{full.message} It could be read from the Hub while it is merged, but {name.partition('@')[0]} is "
                "open to your account alone, and your sign-in never leaves this page.",
                "Run Tiebreak on your own machine for it, or try smaller models.",
            )


def visitor(workspace: Workspace, request: gr.Request | None) -> Visitor:
    """Who sent this request."""
    if not workspace.on_space or (token := visitor_token(request)) is None:
        return Visitor(HubClient(recall=RECALL), "")
    known = _signed_in(request).get("userinfo") or {}
    return Visitor(
        HubClient(token=token, recall=RECALL),
        str(known.get("sub") or known.get("preferred_username") or "unnamed"),
    )


def visitor_token(request: gr.Request | None) -> str | None:
    """The token of the account the visitor signed in with; None where nobody did, or it has expired.

    It stays in the session that the visitor's browser holds, and is never kept here.
    """
    signed_in = _signed_in(request)
    expires = signed_in.get("expires_at")
    if expires is not None and expires < time.time():
        return None
    token = signed_in.get("access_token")
    return token if isinstance(token, str) and token else None


def _signed_in(request: gr.Request | None) -> Mapping[str, Any]:
    """What the sign-in left in the session, which the server has signed; empty where nobody signed in."""
    session: Any = getattr(getattr(request, "request", None), "scope", {}).get("session") or {}
    found: Mapping[str, Any] = session.get("oauth_info") or {}
    return found
