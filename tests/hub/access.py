"""Who asks the local Hub for what, and whether they may."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.hub.store import Commit, Repo, Store, User


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.response = JSONResponse({"error": message or code}, status)
        if code:
            self.response.headers["x-error-code"] = code
        if message:
            self.response.headers["x-error-message"] = message


class Access:
    """Answers requests from a `Store`.

    Args:
        store: what there is.
        storage: address of another origin that serves LFS content, as the real Hub's storage does.
        origin: the Hub's own address.
    """

    def __init__(self, store: Store, storage: Callable[[], str], origin: Callable[[], str]) -> None:
        self.store, self.storage, self.origin = store, storage, origin

    def user(self, request: Request) -> User | None:
        given = request.headers.get("authorization")
        if given is None:
            return None
        user = self.store.users.get(given.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, message="Invalid credentials in Authorization header")
        return user

    def repo(self, request: Request) -> Repo:
        user = self.user(request)
        repo = self.store.repos.get(request.path_params["repo"])
        if repo is None or (repo.private and not (user and user.owns(repo.id))):
            # As the real Hub: a stranger does not learn whether it exists.
            raise Refused(404 if user else 401, "RepoNotFound", "Repository not found" if user else "")
        return repo

    def at(self, request: Request, repo: Repo) -> Commit:
        revision = unquote(request.path_params.get("revision", "main"))
        commit = repo.at(revision)
        if commit is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def opened(self, request: Request, repo: Repo) -> None:
        """Refuse the files of a gated repository to who was not let in."""
        user = self.user(request)
        if repo.gated and not (user and (user.owns(repo.id) or user.name in repo.granted)):
            message = f"Access to model {repo.id} is restricted."
            raise Refused(403 if user else 401, "GatedRepo", message)

    def writer(self, request: Request, repo_id: str, pull_request: bool = False) -> User:
        user = self.user(request)
        if user is None:
            raise Refused(401, message="Invalid username or password.")
        if not user.can_write or not (pull_request or user.owns(repo_id)):
            raise Refused(403, message="You don't have the rights to create or change this model")
        return user
