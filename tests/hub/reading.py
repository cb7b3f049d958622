"""What is read from the local Hub: lists, descriptions, files."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from tests.hub.access import Access, Refused
from tests.hub.store import Blob, Commit, Repo

CHUNK = 64 << 10


class Reading(Access):
    """Addresses that change nothing."""

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
            {"rfilename": p, **(_blob(b, self.store.tells_contents) if with_blobs else {})} for p, b in files
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

    opened = blob.path.open("rb")  # at once: a client may hang up, and the Hub be emptied before this is sent

    def read() -> Any:
        with opened as file:
            file.seek(start)
            left = stop - start
            while left > 0:
                data = file.read(min(CHUNK, left))
                left -= len(data)
                yield data

    return StreamingResponse(read(), status, headers, media_type="application/octet-stream")


def _blob(blob: Blob, tells_content: bool) -> dict[str, Any]:
    if not tells_content:
        return {"size": blob.size}
    lfs = {"lfs": {"sha256": blob.sha256, "size": blob.size, "pointerSize": 134}} if blob.lfs else {}
    return {"size": blob.size, "blobId": blob.git, **lfs}


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    lfs = {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}} if blob.lfs else {}
    return {"type": "file", "path": path, "size": blob.size, "oid": blob.git, **lfs}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
