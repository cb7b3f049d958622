"""What is written to the local Hub: repositories, LFS content, commits, pull requests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import quote, unquote

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.hub.access import Access, Refused
from tests.hub.store import Blob, is_lfs


class Writing(Access):
    """Addresses that change something, and what is asked before that."""

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
