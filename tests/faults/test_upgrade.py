"""A data directory that an earlier binary left means the same to this one: `upgrade/make` made it, once."""

import hashlib
import json
import pathlib
import tarfile

import boto3
import pytest
from botocore.config import Config

from faults import Faults
from serving import Faulty

HERE = pathlib.Path(__file__).resolve().parent / "upgrade"


class Before(Faulty):
    """A server on what is there."""

    def __init__(self, setup, directory: pathlib.Path, known: dict):
        self.binary, self.shim, self.settings = setup.binary, setup.shim, {}
        self.log, self.data = directory / "stderr.log", directory / "data"
        self.faults = Faults(directory / "faults", self.data)
        self.secrets, self.admin_token = set(), known["admin"]
        self.start()


@pytest.fixture(scope="module")
def known():
    return json.loads((HERE / "known.json").read_text())


@pytest.fixture(scope="module")
def before(setup, known, tmp_path_factory):
    directory = tmp_path_factory.mktemp("before")
    with tarfile.open(HERE / "data.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    (directory / "data").chmod(0o700)
    with Before(setup, directory, known) as server:
        yield server


def s3(server, keys: dict, token: str | None = None):
    names = {"aws_access_key_id": keys["access_key_id"], "aws_secret_access_key": keys["secret_access_key"], "aws_session_token": token}
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url=server.s3, region_name="auto", config=config, **names)


def test_the_ledger_is_whole_and_says_what_it_said(before, known):
    verified = before.call("GET", "/api/v1/ledger/verify", known["admin"]).json()
    assert verified["intact"], verified
    assert verified["leases"] >= known["verified"]["leases"] == 3
    # One whose scope is too long for its row.
    lease = before.call("GET", f"/api/v1/leases/{known['many']['lease_id']}", known["admin"]).json()
    assert len(lease["prefixes"]) == 60 and lease["prefixes"][7] == "x" * 40 + "/0007"
    ended = before.call("GET", f"/api/v1/leases/{known['ended']['lease_id']}", known["admin"]).json()
    assert ended["state"] == "revoked", ended
    # What three vends cost is taken from it.
    added = before.call("POST", "/api/v1/accounts/acme/credits", known["admin"], {"credits": 1}).json()
    assert (added["granted"], added["used"]) == (101, 6), added


def test_tokens_are_who_they_were_and_one_that_was_ended_stays_so(before, known):
    for name, role in [("ana", "member"), ("eve", "admin")]:
        me = before.call("GET", "/api/v1/me", known["tokens"][name]).json()
        assert (me["name"], me["role"], me["account"]["name"]) == (name, role, "acme")
    assert before.call("GET", "/api/v1/me", known["tokens"]["gone"]).status == 401


def test_grants_open_what_they_opened_and_no_more(before, known):
    ask = {"bucket": "lake", "prefix": "flights/daily", "access": "read-write", "ttl_secs": 900}
    keys = before.call("POST", "/api/v1/credentials", known["tokens"]["ana"], ask).json()
    client = s3(before, keys, keys["session_token"])
    found = client.get_object(Bucket="lake", Key=known["object"]["key"])
    assert hashlib.sha256(found["Body"].read()).hexdigest() == known["object"]["sha256"]
    assert (found["Metadata"], found["ContentType"]) == ({"made": "before"}, "text/csv")
    client.put_object(Bucket="lake", Key="flights/daily/two.csv", Body=b"2")
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.put_object(Bucket="lake", Key="flights/weekly", Body=b"2")
    for bucket, prefix, status in [("lake", "flights", 403), ("lake", "open", 200), ("sea", "", 404)]:
        ask = {"bucket": bucket, "prefix": prefix or "x", "access": "read", "ttl_secs": 900}
        assert before.call("POST", "/api/v1/credentials", known["tokens"]["eve"], ask).status == status, (bucket, prefix)


def test_a_parent_access_key_opens_what_it_opened(before, known):
    client = s3(before, known["parent"])
    assert client.head_object(Bucket="lake", Key=known["object"]["key"])["ContentLength"] == 1400
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.put_object(Bucket="lake", Key="flights/daily/three", Body=b"3")


def test_secrets_of_storages_open(before, known):
    storages = {one["name"]: one for one in before.call("GET", "/api/v1/storages", known["admin"]).json()["storages"]}
    assert {"far", "cloud"} <= set(storages)
    # A change that keeps the secrets reads them.
    for name in ("far", "cloud"):
        answer = before.call("PATCH", f"/api/v1/storages/{name}", known["admin"], {"max_ttl_secs": 1800})
        assert answer.status == 200, answer
    assert "cannot be opened" not in before.lines(0)
