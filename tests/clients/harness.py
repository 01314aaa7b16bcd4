"""The server under test and the keys it vends, seen from outside."""

import json
import os
import pathlib
import re
import select
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
from botocore.config import Config

DEMO = pathlib.Path(__file__).resolve().parents[2] / "demo" / "data"
MIB = 1024 * 1024
# Where an answer of any of the APIs hands out a secret.
# What is handed out and may not be written down anywhere; the id of a token is no secret, and stands in the ledger.
SECRET = re.compile(
    r'"(?:secret_access_key|session_token|token|secretAccessKey|sessionToken|bearerToken|clientSecret|access_token|sas_token|sasToken)":"(?!tok_)([^"]{16,})"'
)
FLIGHTS = "flights/daily/2013-01-01.parquet"


def demo_keys(bucket: str, prefix: str) -> set[str]:
    """The keys of the demo data below a prefix that ends at a path boundary."""
    root = DEMO / bucket
    return {str(path.relative_to(root)) for path in (root / prefix).rglob("*") if path.is_file()}


def demo_bytes(bucket: str, key: str) -> bytes:
    return (DEMO / bucket / key).read_bytes()


@dataclass(frozen=True)
class Caller:
    name: str
    account: str
    token: str
    access: str
    bucket: str
    prefix: str


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Lease:
    """A vended key: what the native API answers."""

    id: str
    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: datetime
    endpoint: str
    region: str
    bucket: str
    prefix: str
    objects: list[str]
    access: str
    server: "Server"

    def revoke(self) -> None:
        answer = self.server.call("DELETE", f"/api/v1/leases/{self.id}", self.server.admin_token)
        assert answer.status in (200, 204), answer

    def outlive(self) -> "Lease":
        """Returns once the instant named in `expiration` has passed."""
        while (left := (self.expiration - datetime.now(UTC)).total_seconds()) >= 0:
            time.sleep(left + 0.001)
        return self

    def boto3(self, **config):
        """The client that prepares and verifies what the other clients do."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_session_token=self.session_token,
            config=Config(**{"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **config}),
        )

    def get(self, key: str) -> bytes:
        return self.boto3().get_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")["Body"].read()

    def keys(self, prefix: str) -> set[str]:
        pages = self.boto3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}

    def env(self) -> dict[str, str]:
        """The process environment with the key in AWS's variables."""
        return os.environ | {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
            "AWS_REGION": self.region,
        }


class Server:
    """`valetkey dev` on free ports with an empty data directory. Stops with the `with` block."""

    def __init__(self, binary: str, directory: pathlib.Path, settings: dict[str, str] | None = None):
        self.binary = binary
        self.log = directory / "stderr.log"
        self.data = directory / "data"
        self.secrets: set[str] = set()
        # Everything that can be logged is, so that a secret in it would be found; and nobody is slowed down.
        settings = {"VALETKEY_LOG__LEVEL": "trace", "VALETKEY_LOG__FORMAT": "json"} | (settings or {})
        settings |= {f"VALETKEY_LIMITS__{name}": "per-second:100000/1" for name in ("CREDENTIALS", "REQUESTS", "STRANGERS")}
        command = [binary, *self._command(), "--data-dir", str(self.data), "--output", "json"]
        command += ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=os.environ | settings)
        try:
            self.ready = self._ready()
            self.api, self.s3 = self.ready["api"].rstrip("/"), self.ready["s3"].rstrip("/")
            self._started()
        except BaseException:
            self.stop()
            raise

    def _command(self) -> list[str]:
        return ["dev"]

    def _started(self) -> None:
        """Takes note of the world that the server comes with."""
        ready = self.ready
        self.callers = [
            Caller(**{name: caller[name] for name in Caller.__annotations__}) for caller in ready["callers"]
        ]
        self.forbidden = [(entry["bucket"], entry["key"]) for entry in ready["forbidden"]]
        self.admin_token = ready["admin"]["token"]
        self.delta_sharing = ready["delta_sharing"]
        self.secrets |= {self.admin_token} | {caller.token for caller in self.callers}
        self.secrets.add(self.delta_sharing["profile"]["bearerToken"])

    def _ready(self) -> dict:
        if not select.select([self.process.stdout], [], [], 60)[0]:
            raise TimeoutError(f"nothing on stdout within a minute; stderr:\n{self.log.read_text()}")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"exited with {self.process.wait()}; stderr:\n{self.log.read_text()}")
        return json.loads(line)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()

    def leaks(self) -> list[str]:
        """Where a secret that was handed out can be read: in the log, or in a file beside the demo's own note of its tokens."""
        own = ("dev.json", "config.share")
        files = [path for path in self.data.rglob("*") if path.is_file() and path.name not in own and path.suffix != ".token"]
        places = [self.log] + files
        secrets = [secret.encode() for secret in self.secrets]
        return [str(place) for place in places if any(secret in content for content in [place.read_bytes()] for secret in secrets)]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def caller(self, access: str, bucket: str) -> Caller:
        return next(caller for caller in self.callers if (caller.access, caller.bucket) == (access, bucket))

    def call(self, method: str, path: str, token: str | None = None, body: object = None) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api + path, data, headers, method=method)
        try:
            response = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            answer = Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
        return self.noted(answer)

    def make(self, path: str, **fields) -> dict:
        """Makes something, as the operator: what the API answers about it."""
        answer = self.call("POST", f"/api/v1/{path}", self.admin_token, fields)
        assert answer.status == 201, answer
        return answer.json()

    def cli(self, *args: str, token: str | None = None, data: str | None = None) -> subprocess.CompletedProcess:
        """The command line, as the operator if no token says otherwise; `-o json`, and no error is raised."""
        env = os.environ | {"VALETKEY_SERVER": self.api, "VALETKEY_TOKEN": token or self.admin_token}
        command = [self.binary, "--output", "json", *args]
        return subprocess.run(command, env=env, input=data, capture_output=True, text=True, timeout=60)

    def noted(self, answer: Answer) -> Answer:
        """The answer, with the secrets in it noted for `leaks`."""
        self.secrets |= set(SECRET.findall(answer.body.decode(errors="replace")))
        return answer

    def vend(self, caller: Caller, ttl: int = 3600, **fields) -> Lease:
        body = {"bucket": caller.bucket, "prefix": caller.prefix, "access": caller.access, "ttl_secs": ttl} | fields
        body = {name: value for name, value in body.items() if value is not None}
        answer = self.call("POST", "/api/v1/credentials", caller.token, body)
        assert answer.status == 200, answer
        vended = answer.json()
        assert {name: vended[name] for name in body.keys() & {"bucket", "access"}} == {
            name: body[name] for name in body.keys() & {"bucket", "access"}
        }
        return Lease(
            id=vended["lease_id"],
            access_key_id=vended["access_key_id"],
            secret_access_key=vended["secret_access_key"],
            session_token=vended["session_token"],
            expiration=datetime.fromisoformat(vended["expiration"]),
            endpoint=vended["endpoint_url"],
            region=vended["region"],
            bucket=vended["bucket"],
            prefix=vended["prefixes"][0] if vended["prefixes"] else "",
            objects=vended["objects"],
            access=vended["access"],
            server=self,
        )
