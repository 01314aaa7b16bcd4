import itertools
import os
import pathlib
import shutil
import sys
import tempfile
from dataclasses import dataclass

import boto3
import pytest
from botocore.config import Config

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

# No client may find other credentials, endpoints, profiles or proxies than the ones a test gives it.
for name in [
    name for name in os.environ if name.upper().startswith(("AWS_", "DREADNODE_")) or name.upper().endswith("_PROXY")
]:
    del os.environ[name]
HOME = tempfile.mkdtemp(prefix="dreadnode-home-")
os.environ |= {
    "HOME": HOME,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

from harness import Server  # noqa: E402  (after the environment is clean)


def pytest_sessionfinish():
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that skips has not tested: it fails."""
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.nodeid} skipped: {report.longrepr}"
    return report


@dataclass(frozen=True)
class Place:
    """A workspace as its caller sees it."""

    server: Server
    token: str
    organization: str
    workspace: str

    @property
    def path(self) -> str:
        return f"/api/v1/org/{self.organization}/ws/{self.workspace}"

    def credentials(self) -> dict:
        answer = self.server.call("GET", f"{self.path}/storage/credentials", self.token)
        assert answer.status == 200, answer
        return answer.json()

    def bucket(self) -> "Bucket":
        return Bucket(self.credentials())


class Bucket:
    """The bucket itself, through boto3: the SDK falls back to the local disk without a word, so only this tells."""

    def __init__(self, vended: dict):
        self.name, self.prefix = vended["bucket"], vended["prefix"]
        self.s3 = boto3.client(
            "s3",
            endpoint_url=vended["endpoint"],
            region_name=vended["region"],
            aws_access_key_id=vended["access_key_id"],
            aws_secret_access_key=vended["secret_access_key"],
            aws_session_token=vended["session_token"],
            config=Config(s3={"addressing_style": "path"}),
        )

    def keys(self, part: str) -> set[str]:
        """The keys of `artifacts` or `cas`, without what stands before."""
        start = f"{self.prefix}/{part}/"
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=start)
        return {entry["Key"].removeprefix(start) for page in pages for entry in page.get("Contents", [])}

    def get(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.name, Key=f"{self.prefix}/{key}")["Body"].read()

    def head(self, key: str) -> dict:
        return self.s3.head_object(Bucket=self.name, Key=f"{self.prefix}/{key}")


def place_of(server: Server) -> Place:
    ready = server.ready["dreadnode"]
    assert ready["url"].rstrip("/") == server.api
    server.secrets.add(ready["token"])
    return Place(server, ready["token"], ready["organization"], ready["workspace"])


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("valetkey")) as server:
        yield server
    assert len(server.secrets) > 4 and server.log.stat().st_size > 0
    assert server.leaks() == []


@pytest.fixture(scope="session")
def hurried(tmp_path_factory):
    """A server whose keys live for three seconds."""
    settings = {"VALETKEY_DREADNODE__DEFAULT_TTL_SECS": "3"}
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("hurried"), settings) as server:
        yield place_of(server)


@pytest.fixture(scope="session")
def place(server):
    return place_of(server)


_numbers = itertools.count()


@pytest.fixture
def new_place(server):
    """Makes a workspace for one caller of an account, and that caller's token."""

    def make(account="acme", read_only=False):
        key, number = f"team-{next(_numbers)}", next(_numbers)
        caller = f"member-{number}"
        body = {"account": account, "caller": caller, "role": "member"}
        answer = server.call("POST", "/api/v1/tokens", server.admin_token, body)
        assert answer.status == 201, answer
        token = answer.json()["token"]
        body = {"account": account, "key": key, "bucket": "agents-lake", "callers": [caller]}
        body["access"] = "read" if read_only else "read-write"
        answer = server.call("POST", "/api/v1/workspaces", server.admin_token, body)
        assert answer.status == 201, answer
        return Place(server, token, account, key)

    return make


@pytest.fixture
def sdk(tmp_path):
    """Opens the SDK for a place, with an empty cache of its own each time."""
    from dreadnode import Dreadnode

    opened = []

    def open_for(place, **settings):
        cache = tmp_path / f"cache-{len(opened)}"
        settings = {"organization": place.organization, "workspace": place.workspace} | settings
        dreadnode = Dreadnode()
        opened.append(dreadnode)
        return dreadnode.configure(
            server=place.server.api,
            api_key=place.token,
            cache=cache,
            console=False,
            **{name: value for name, value in settings.items() if value is not None},
        )

    yield open_for
    for dreadnode in opened:
        dreadnode.shutdown()
