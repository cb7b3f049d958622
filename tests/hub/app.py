"""The local Hub's addresses, answered as the Hugging Face Hub answers them, as far as its client asks."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Route

from tests.hub.access import Refused
from tests.hub.reading import Reading
from tests.hub.store import Store
from tests.hub.writing import Writing


class HubApp(Reading, Writing):
    """All of them."""

    def __init__(self, store: Store, storage: Callable[[], str], origin: Callable[[], str]) -> None:
        super().__init__(store, storage, origin)
        repo = "/api/models/{repo:path}"
        routes = [
            ("/api/whoami-v2", self.whoami, "GET"),
            ("/api/models", self.search, "GET"),
            ("/api/collections/{slug:path}", self.collection, "GET"),
            ("/api/repos/create", self.create, "POST"),
            ("/api/validate-yaml", self.validate_yaml, "POST"),
            (repo + "/revision/{revision}", self.info, "GET"),
            (repo + "/tree/{revision}", self.tree, "GET"),
            (repo + "/commits/{revision}", self.commits, "GET"),
            (repo + "/refs", self.refs, "GET"),
            (repo + "/paths-info/{revision}", self.paths_info, "POST"),
            (repo + "/preupload/{revision}", self.preupload, "POST"),
            (repo + "/commit/{revision}", self.commit, "POST"),
            (repo, self.info, "GET"),
            ("/{repo:path}.git/info/lfs/objects/batch", self.lfs_batch, "POST"),
            ("/storage/upload/{sha256}", self.lfs_put, "PUT"),
            ("/storage/verify", self.lfs_verify, "POST"),
            ("/storage/{sha256}", self.lfs_get, "GET"),
            ("/{repo:path}/resolve/{revision}/{path:path}", self.resolve, "GET"),
        ]
        self.starlette = Starlette(
            routes=[Route(path, endpoint, methods=[method]) for path, endpoint, method in routes],
            exception_handlers={Refused: lambda request, error: error.response},
        )
