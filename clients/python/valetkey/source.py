"""Where credentials come from: the native API, asked once for many readers and ahead of every expiry."""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

Access = Literal["read", "write", "read-write"]

DEFAULT_SERVER = "http://127.0.0.1:7070"
# botocore asks again 15 minutes before the end.
AHEAD = timedelta(minutes=20)
LAST_RESORT = timedelta(seconds=60)
MOST_BYTES = 1024 * 1024
# After a failure, what is kept is given out without asking for this long.
PAUSE = timedelta(seconds=5)
# For how long what was vended or confirmed is given out without asking whether it was ended; and how long that may take.
UNASKED = timedelta(minutes=1)
ASKING = timedelta(seconds=5)


class Refused(Exception):
    """The server refuses: the token, the grant or the place. Asking again does not help."""

    def __init__(self, message: str, code: str = "", request_id: str = "") -> None:
        super().__init__(f"{message} (request {request_id})" if request_id else message)
        self.code, self.request_id = code, request_id


class Unavailable(Exception):
    """The server is away, has too much to do, or what answers is not Valetkey."""


@dataclass(frozen=True)
class Credential:
    """One vended credential. Its `repr` has no secret."""

    type: Literal["s3", "azure", "google"]
    lease_id: str
    expiration: datetime
    endpoint_url: str
    region: str
    bucket: str
    prefixes: Sequence[str]
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    sas_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)

    @property
    def allow_http(self) -> bool:
        """Whether the endpoint is plain http."""
        return self.endpoint_url.startswith("http://")

    @property
    def account(self) -> str:
        """The Azure account behind the endpoint: of an emulator's, the first part of its path."""
        url = urllib.parse.urlsplit(self.endpoint_url)
        return url.path.strip("/").split("/")[0] or (url.hostname or "").split(".")[0]

    @staticmethod
    def read(answer: Mapping[str, Any]) -> Credential:
        """Reads an answer of the API; raises `Unavailable` if it is none."""
        kind = answer.get("type", "s3")
        parts = {
            "s3": ("access_key_id", "secret_access_key", "session_token"),
            "azure": ("sas_token",),
            "google": ("access_token",),
        }.get(kind)
        if parts is None:
            raise Unavailable(f"a credential of type {kind!r} is not known to this version")
        texts = ("expiration", "endpoint_url", "bucket", *parts)
        missing = [name for name in texts if not isinstance(answer.get(name), str) or not answer[name]]
        if missing:
            raise Unavailable(f"the server's answer is no credential: it has no {missing[0]!r}")
        try:
            expiration = datetime.fromisoformat(answer["expiration"])
        except ValueError:
            raise Unavailable("the server's answer is no credential: its expiration is no timestamp") from None
        if expiration.tzinfo is None:
            raise Unavailable("the server's answer is no credential: its expiration has no time zone")
        return Credential(
            type=kind,
            lease_id=str(answer.get("lease_id", "")),
            expiration=expiration.replace(microsecond=0),
            endpoint_url=answer["endpoint_url"].rstrip("/"),
            region=str(answer.get("region") or "auto"),
            bucket=answer["bucket"],
            prefixes=tuple(answer.get("prefixes") or ()),
            **{name: answer[name] for name in parts},
        )


@dataclass(frozen=True)
class _Kept:
    credential: Credential
    vended: datetime
    # When the server was last asked whether it was ended.
    asked: datetime

    def is_good(self, now: datetime) -> bool:
        floor = min(LAST_RESORT, (self.credential.expiration - self.vended) / 4)
        return self.vended <= now < self.credential.expiration - floor

    def is_fresh(self, now: datetime) -> bool:
        life = self.credential.expiration - self.vended
        ahead = max(life / 2, min(AHEAD, life * 3 / 4))
        return self.vended <= now < self.credential.expiration - ahead

    def is_unasked(self, now: datetime) -> bool:
        return self.asked <= now < self.asked + UNASKED


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to a place that nobody named."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Source:
    """A grant or a place, and the credential for it. Safe to share between threads."""

    def __init__(
        self,
        target: str | None = None,
        *,
        prefixes: Sequence[str] = (),
        objects: Sequence[str] = (),
        access: Access | None = None,
        ttl: timedelta | None = None,
        server: str | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        self._ask = _ask(target, prefixes, objects, access, ttl)
        server = server or os.environ.get("VALETKEY_SERVER") or DEFAULT_SERVER
        self._api = _checked(server.rstrip("/")) + "/api/v1"
        self._token, self._token_file, self._timeout = token, token_file, timeout
        handlers: list[Any] = [_NoRedirects()]
        if _is_loopback(self._api):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)
        # Held while the server is asked; the other one for an instant, so that nobody waits for a vend who only forgets.
        self._asking = threading.Lock()
        self._setting = threading.Lock()
        self._kept: _Kept | None = None
        self._paused = datetime.min.replace(tzinfo=UTC)

    def get(self) -> Credential:
        """A credential that is good for a while. Raises `Refused` or `Unavailable`."""
        kept, now = self._kept, datetime.now(UTC)
        if kept and kept.is_fresh(now) and kept.is_unasked(now):
            return kept.credential
        with self._asking:
            # Others waited for the same answer.
            kept, now = self._kept, datetime.now(UTC)
            good = kept if kept and kept.is_good(now) else None
            if good and (now < self._paused or (good.is_fresh(now) and good.is_unasked(now))):
                return good.credential
            try:
                if good and good.is_fresh(now) and self._is_live(good.credential):
                    self._keep(_Kept(good.credential, good.vended, now), instead_of=good)
                    return good.credential
                credential = self._vend()
            except Unavailable:
                self._paused = now + PAUSE
                if good:
                    return good.credential
                raise
            except Refused:
                self._keep(None)
                raise
            self._keep(_Kept(credential, now, now))
            return credential

    def forget(self, refused: Credential | str) -> None:
        """Says that a credential is refused, by itself or by its session token: the next `get` vends another.

        Nothing is forgotten if another one is kept by now. It never waits.
        """
        with self._setting:
            kept = self._kept and self._kept.credential
            if kept and (kept == refused or (isinstance(refused, str) and refused and kept.session_token == refused)):
                self._kept = None

    def _keep(self, kept: _Kept | None, instead_of: _Kept | None = None) -> None:
        with self._setting:
            # What was forgotten meanwhile stays forgotten.
            if instead_of is None or self._kept is instead_of:
                self._kept = kept

    def _is_live(self, credential: Credential) -> bool:
        """Whether the server says that it was not ended."""
        try:
            told = self._ask_for("leases/" + urllib.parse.quote(credential.lease_id, safe=""), None, min(self._timeout, ASKING))
        except Refused as refusal:
            if refusal.code == "not_found":
                return False
            raise
        return told.get("state") == "live"

    def _vend(self) -> Credential:
        credential = Credential.read(self._ask_for("credentials", self._ask, self._timeout))
        if credential.expiration <= datetime.now(UTC):
            raise Unavailable("the server vended a credential that is over; is this machine's clock right?")
        return credential

    def _ask_for(self, path: str, body: Mapping[str, Any] | None, timeout: timedelta) -> Mapping[str, Any]:
        url, data = f"{self._api}/{path}", None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._bearer()}", "Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data, headers)
        try:
            with self._opener.open(request, timeout=timeout.total_seconds()) as answer:
                text = answer.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read(MOST_BYTES)) from None
        except (OSError, ValueError) as error:
            raise Unavailable(f"{url} cannot be reached: {error}") from None
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise Unavailable(f"the answer of {url} is not the API's")
        return told

    def _bearer(self) -> str:
        path = self._token_file
        token = self._token or (None if path else os.environ.get("VALETKEY_TOKEN"))
        path = path or os.environ.get("VALETKEY_TOKEN_FILE")
        if not token and path:
            try:
                token = Path(path).read_text()
            except OSError as error:
                raise Refused(f"the token cannot be read: {error}") from None
        token = (token or "").strip()
        if not token:
            raise Refused("there is no token: set VALETKEY_TOKEN or VALETKEY_TOKEN_FILE, or pass token")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise Refused("what is set as token is not one")
        return token


def _ask(
    target: str | None, prefixes: Sequence[str], objects: Sequence[str], access: Access | None, ttl: timedelta | None
) -> dict[str, Any]:
    ask: dict[str, Any] = {}
    if target and target.startswith("s3://"):
        bucket, _, directory = target.removeprefix("s3://").partition("/")
        directory = directory.removesuffix("/")
        if not bucket or bool(directory) == bool(prefixes or objects):
            raise ValueError("a place is s3://bucket/directory, or s3://bucket with prefixes or objects")
        ask["bucket"] = bucket
        prefixes = [directory] if directory else prefixes
    elif target and "/" in target:
        raise ValueError("the target is the name of a grant, or s3://bucket/directory")
    elif target:
        ask["grant"] = target
    if prefixes:
        ask["prefixes"] = [prefix.removesuffix("/") for prefix in prefixes]
    if objects:
        ask["objects"] = list(objects)
    if access:
        ask["access"] = access
    if ttl:
        ask["ttl_secs"] = int(ttl.total_seconds())
    return ask


def _is_loopback(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())


def _checked(server: str) -> str:
    url = urllib.parse.urlsplit(server)
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
        raise ValueError("the server is the URL of Valetkey's API, without a user or a query")
    if url.scheme == "http" and not _is_loopback(server):
        raise ValueError("the token is not sent over plain http to another machine")
    return server


def _refusal(status: int, body: bytes) -> Exception:
    try:
        problem = json.loads(body)
        message = str(problem.get("detail") or problem.get("title"))
        code, request = str(problem.get("code", "")), str(problem.get("request_id", ""))
    except (ValueError, AttributeError):
        return Unavailable(f"the server answered with status {status} and no reason")
    if status in (408, 429) or status >= 500 or not 400 <= status:
        return Unavailable(message)
    return Refused(message, code, request)
