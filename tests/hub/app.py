"""The local Hub's addresses, answered as the Hugging Face Hub answers them, as far as its client asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.hub.store import Blob, Commit, Repo, Store, User, is_lfs

CHUNK = 64 << 10


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.response = JSONResponse({"error": message or code}, status)
        if code:
            self.response.headers["x-error-code"] = code
        if message:
            self.response.headers["x-error-message"] = message


class HubApp:
    """Answers requests from a `Store`.

    Args:
        store: what there is.
        storage: address of another origin that serves LFS content, as the real Hub's storage does.
    """

    def __init__(self, store: Store, storage: Callable[[], str], origin: Callable[[], str]) -> None:
        self.store, self.storage, self.origin = store, storage, origin
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

    # Who asks, and for what ----------------------------------------------------------------------------

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

    # Reading -------------------------------------------------------------------------------------------

    async def whoami(self, request: Request) -> Response:
        user = self.user(request)
        if user is None:
            raise Refused(401)
        return JSONResponse(
            {"type": "user", "name": user.name, "orgs": [{"name": o} for o in user.organisations]}
        )

    async def search(self, request: Request) -> Response:
        user, asked = self.user(request), request.query_params
        wanted, text, author = asked.getlist("filter"), asked.get("search", "").lower(), asked.get("author")
        limit, skip = int(asked.get("limit", 1000)), int(asked.get("cursor", 0))
        found = [
            repo
            for repo in self.store.repos.values()
            if text in repo.id.lower()
            and (author is None or repo.id.startswith(f"{author}/"))
            and set(wanted) <= set(self.store.tags_of(repo))
            and (not repo.private or (user is not None and user.owns(repo.id)))
        ]
        if asked.get("sort"):
            found.sort(key=lambda repo: repo.downloads, reverse=True)
        page = found[skip : skip + limit]
        response = JSONResponse([self.described(repo, asked.getlist("expand")) for repo in page])
        if skip + limit < len(found):
            following = request.url.include_query_params(cursor=skip + limit)
            response.headers["link"] = f'<{following}>; rel="next"'
        return response

    async def collection(self, request: Request) -> Response:
        slug = request.path_params["slug"]
        if slug not in self.store.collections:
            raise Refused(404, message="Collection not found")
        items = [
            {"_id": f"{n:024x}", "type": "model", "id": each, "position": n}
            for n, each in enumerate(self.store.collections[slug])
        ]
        owner = {"name": slug.partition("/")[0]}
        head = {"slug": slug, "title": slug, "owner": owner, "private": False, "theme": "blue", "upvotes": 0}
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return JSONResponse({**head, "position": 0, "lastUpdated": now, "items": items})

    def described(self, repo: Repo, expand: list[str]) -> dict[str, Any]:
        parameters = self.store.parameters(repo)
        known = {
            "author": repo.id.partition("/")[0],
            "downloads": repo.downloads,
            "gated": "manual" if repo.gated else False,
            "lastModified": _time(repo.head.at),
            "likes": repo.likes,
            "private": repo.private,
            "sha": repo.head.sha,
            "tags": self.store.tags_of(repo),
        }
        if "siblings" in expand:
            known["siblings"] = [{"rfilename": path} for path in repo.head.files]
        if parameters:
            known["safetensors"] = {"parameters": parameters, "total": sum(parameters.values())}
        if expand:
            known = {key: value for key, value in known.items() if key in expand}
        return {
            "_id": hashlib.sha1(repo.id.encode()).hexdigest()[:24],
            "id": repo.id,
            "modelId": repo.id,
            **known,
        }

    async def info(self, request: Request) -> Response:
        repo = self.repo(request)
        commit = self.at(request, repo)
        expand = request.query_params.getlist("expand")
        answer = self.described(repo, expand)
        if expand:
            return JSONResponse(answer)
        with_blobs = request.query_params.get("blobs", "").lower() == "true"
        files = commit.files.items()
        answer["siblings"] = [
            {"rfilename": p, **(_blob(b, "pointerSize") if with_blobs else {})} for p, b in files
        ]
        answer["sha"] = commit.sha
        return JSONResponse(answer)

    async def tree(self, request: Request) -> Response:
        repo = self.repo(request)
        return JSONResponse([_entry(path, blob) for path, blob in self.at(request, repo).files.items()])

    async def commits(self, request: Request) -> Response:
        repo = self.repo(request)
        commit: Commit | None = self.at(request, repo)
        listed = []
        while commit is not None:
            listed.append(
                {
                    "id": commit.sha,
                    "title": commit.title,
                    "message": "",
                    "authors": [],
                    "date": _time(commit.at),
                }
            )
            commit = repo.commits.get(commit.parent or "")
        return JSONResponse(listed)

    async def refs(self, request: Request) -> Response:
        repo = self.repo(request)
        groups: dict[str, list[dict[str, str]]] = {
            "branches": [],
            "tags": [],
            "converts": [],
            "pullRequests": [],
        }
        for name, sha in repo.refs.items():
            pull = name.startswith("refs/pr/")
            ref = name if pull else f"refs/heads/{name}"
            groups["pullRequests" if pull else "branches"].append(
                {"name": name, "ref": ref, "targetCommit": sha}
            )
        return JSONResponse(groups)

    async def paths_info(self, request: Request) -> Response:
        repo = self.repo(request)
        form = await request.form()
        files = self.at(request, repo).files
        return JSONResponse([_entry(str(p), files[str(p)]) for p in form.getlist("paths") if str(p) in files])

    async def resolve(self, request: Request) -> Response:
        repo = self.repo(request)
        commit = self.at(request, repo)
        self.opened(request, repo)
        blob = commit.files.get(request.path_params["path"])
        if blob is None:
            refused = Refused(404, "EntryNotFound", "Entry not found")
            refused.response.headers["x-repo-commit"] = commit.sha
            raise refused
        headers = {"x-repo-commit": commit.sha, "etag": f'"{blob.etag}"', "accept-ranges": "bytes"}
        if not blob.lfs:
            return _content(request, blob, headers)
        headers |= {"x-linked-etag": f'"{blob.sha256}"', "x-linked-size": str(blob.size)}
        location = f"{self.storage()}/storage/{blob.sha256}?signature=secret-of-the-storage"
        return RedirectResponse(location, 302, headers)

    async def lfs_get(self, request: Request) -> Response:
        for repo in self.store.repos.values():
            for commit in repo.commits.values():
                for blob in commit.files.values():
                    if blob.sha256 == request.path_params["sha256"]:
                        return _content(request, blob, {"accept-ranges": "bytes", "etag": f'"{blob.sha256}"'})
        raise Refused(404)

    # Writing -------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        asked = await request.json()
        repo_id = f"{asked.get('organization') or getattr(self.user(request), 'name', '')}/{asked['name']}"
        self.writer(request, repo_id)
        if repo_id in self.store.repos:
            raise Refused(409, message="You already created this model repo")
        private = asked.get("private") or asked.get("visibility") == "private"
        self.store.create(repo_id, private=bool(private))
        return JSONResponse({"url": f"{self.origin()}/{repo_id}", "name": repo_id})

    async def validate_yaml(self, request: Request) -> Response:
        card = (await request.json())["content"]
        head = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
        errors, warnings = [], []
        if head is None:
            warnings.append({"message": "empty or missing yaml metadata in repo card"})
        else:
            try:
                yaml.safe_load(head[1])
            except yaml.YAMLError as error:
                errors.append({"message": f"YAML Metadata Error: {error}"})
        return JSONResponse({"errors": errors, "warnings": warnings}, 400 if errors else 200)

    async def preupload(self, request: Request) -> Response:
        repo = self.repo(request)
        self.writer(request, repo.id, "create_pr" in request.query_params)
        held = self.at(request, repo).files
        answers = []
        for file in (await request.json())["files"]:
            path = file["path"]
            mode = "lfs" if is_lfs(path, file["size"]) else "regular"
            answer = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            answers.append({**answer, "oid": held[path].etag} if path in held else answer)
        return JSONResponse({"files": answers})

    async def lfs_batch(self, request: Request) -> Response:
        repo = self.repo(request)
        asked = await request.json()
        self.writer(request, repo.id, "ref" not in asked)
        objects = []
        for each in asked["objects"]:
            answer = {"oid": each["oid"], "size": each["size"]}
            if self.store.uploaded(each["oid"], each["size"]) is None:
                upload = {
                    "href": f"{self.storage()}/storage/upload/{each['oid']}?signature=secret-of-the-storage"
                }
                verify = {"href": f"{self.origin()}/storage/verify"}
                answer["actions"] = {"upload": upload, "verify": verify}
            objects.append(answer)
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def lfs_put(self, request: Request) -> Response:
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != request.path_params["sha256"]:
            raise Refused(400, message="content does not match its hash")
        self.store.put(content, True)
        return Response()

    async def lfs_verify(self, request: Request) -> Response:
        asked = await request.json()
        if self.store.uploaded(asked["oid"], asked["size"]) is None:
            raise Refused(404, message="not uploaded")
        return JSONResponse({})

    async def commit(self, request: Request) -> Response:
        repo = self.repo(request)
        proposed = "create_pr" in request.query_params
        self.writer(request, repo.id, proposed)
        head = self.at(request, repo)
        lines = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
        changes: dict[str, Blob | None] = {}
        title = ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, head.sha):
                    raise Refused(412, message="A commit has happened since. Please refresh and try again.")
            elif line["key"] == "file":
                changes[value["path"]] = self.store.put(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                blob = self.store.uploaded(value["oid"], value["size"])
                if blob is None:
                    raise Refused(
                        400, message=f"LFS pointer {value['path']} points to a file that does not exist"
                    )
                changes[value["path"]] = blob
            elif line["key"] == "deletedFile":
                changes[value["path"]] = None
        revision = unquote(request.path_params["revision"])
        ref = revision
        answer: dict[str, Any] = {}
        if proposed:
            repo.pull_requests += 1
            ref = f"refs/pr/{repo.pull_requests}"
            answer["pullRequestUrl"] = f"{self.origin()}/{repo.id}/discussions/{repo.pull_requests}"
        made = self.store.commit(repo, changes, title, onto=revision, ref=ref)
        url = f"{self.origin()}/{repo.id}/commit/{quote(made.sha)}"
        return JSONResponse({"success": True, "commitUrl": url, "commitOid": made.sha, **answer})


def _content(request: Request, blob: Blob, headers: dict[str, str]) -> Response:
    """A file, or the part of it that is asked for."""
    start, stop, status = 0, blob.size, 200
    if match := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", "")):
        start, stop, status = int(match[1]), min(blob.size, int(match[2] or blob.size) + 1), 206
        if start >= blob.size:
            return Response(status_code=416, headers={"content-range": f"bytes */{blob.size}"})
        headers |= {"content-range": f"bytes {start}-{stop - 1}/{blob.size}"}
    headers |= {"content-length": str(stop - start)}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)

    def read() -> Any:
        with blob.path.open("rb") as file:
            file.seek(start)
            left = stop - start
            while left > 0:
                data = file.read(min(CHUNK, left))
                left -= len(data)
                yield data

    return StreamingResponse(read(), status, headers, media_type="application/octet-stream")


def _blob(blob: Blob, pointer: str) -> dict[str, Any]:
    lfs = {"lfs": {"sha256": blob.sha256, "size": blob.size, pointer: 134}} if blob.lfs else {}
    return {"size": blob.size, "blobId": blob.git, **lfs}


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    lfs = {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}} if blob.lfs else {}
    return {"type": "file", "path": path, "size": blob.size, "oid": blob.git, **lfs}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
