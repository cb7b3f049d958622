"""A small OpenID provider on this machine: the authorization code flow, with a signed id_token."""

from __future__ import annotations

import json
import secrets
import threading
import time
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "tiebreak-test", "a secret of this test"


class OpenIdProvider:
    """Signs everybody in who comes, as `user`, with `token` as the access token. Use as a context manager.

    Attributes:
        url: for OPENID_PROVIDER_URL.
        user, token: who the next visitor is; set them to sign in somebody else.
        valid: seconds the token is valid.
        scopes: what was asked for, once somebody came.
    """

    def __init__(self, user: str, token: str) -> None:
        self.user, self.token, self.valid = user, token, 3600
        self.scopes: list[str] = []
        self._key = RSAKey.generate_key(2048, {"kid": "test", "use": "sig", "alg": "RS256"})
        self._codes: dict[str, str] = {}  # code → nonce
        routes = [
            Route("/.well-known/openid-configuration", self._configuration),
            Route("/oauth/authorize", self._authorize),
            Route("/oauth/token", self._exchange, methods=["POST"]),
            Route("/oauth/userinfo", self._userinfo),
            Route("/keys", self._keys),
        ]
        settings = uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=0, log_level="critical")
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> OpenIdProvider:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    @property
    def url(self) -> str:
        (server,) = self._server.servers
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def _configuration(self, _: Request) -> JSONResponse:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/oauth/authorize",
                "token_endpoint": f"{self.url}/oauth/token",
                "userinfo_endpoint": f"{self.url}/oauth/userinfo",
                "jwks_uri": f"{self.url}/keys",
                "response_types_supported": ["code"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    def _authorize(self, request: Request) -> RedirectResponse:
        query = request.query_params
        assert query["client_id"] == CLIENT_ID
        self.scopes = query["scope"].split()
        code = secrets.token_urlsafe()
        self._codes[code] = query.get("nonce", "")
        back = query["redirect_uri"]
        joint = "&" if "?" in back else "?"
        return RedirectResponse(back + joint + urlencode({"code": code, "state": query["state"]}))

    async def _exchange(self, request: Request) -> JSONResponse:
        form = parse_qs((await request.body()).decode())
        nonce = self._codes.pop(form["code"][0])
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": self.user,
            "iat": now,
            "exp": now + 600,
            "nonce": nonce,
            "preferred_username": self.user,
            "name": self.user,
        }
        signed = jwt.encode({"alg": "RS256", "kid": "test"}, claims, self._key)
        return JSONResponse(
            {
                "access_token": self.token,
                "token_type": "bearer",
                "expires_in": self.valid,
                "scope": " ".join(self.scopes),
                "id_token": signed,
            }
        )

    def _userinfo(self, _: Request) -> JSONResponse:
        return JSONResponse({"sub": self.user, "preferred_username": self.user, "name": self.user})

    def _keys(self, _: Request) -> JSONResponse:
        return JSONResponse({"keys": [json.loads(json.dumps(self._key.as_dict(private=False)))]})
