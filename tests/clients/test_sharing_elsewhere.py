"""Delta Sharing by URL where somebody else runs the store: another Valetkey, which is AWS STS and S3 to this one. Read by the protocol's own
client."""

import json
import os
import re
from urllib.parse import parse_qs, urlsplit

import delta_sharing
import deltalake
import pyarrow as pa
import pytest
import requests

from harness import Server

BUCKET = "far-lake"
TABLE = "/shares/far/schemas/days/tables/counts"
DAYS = ["2026-07-01", "2026-07-02"]


def caller(server, account, name):
    token = server.make("tokens", account=account, caller=name)["token"]
    server.secrets.add(token)
    return token


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """The other server, with a table of two versions, and beside it what nobody shared."""
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("far")) as far:
        far.make("buckets", bucket=BUCKET)
        account = far.make("accounts", name="near")["name"]
        far.make("grants", name="role", account=account, to=None, bucket=BUCKET, whole_bucket=True, access="read-write")
        wish = {"bucket": BUCKET, "whole_bucket": True, "access": "read-write"}
        keys = far.call("POST", "/api/v1/credentials", caller(far, account, "writer"), wish).json()
        options = {
            "aws_endpoint_url": far.s3,
            "aws_region": "auto",
            "aws_access_key_id": keys["access_key_id"],
            "aws_secret_access_key": keys["secret_access_key"],
            "aws_session_token": keys["session_token"],
            "aws_allow_http": "true",
            "aws_conditional_put": "etag",
        }
        for place, days in (("tables/counts", DAYS), ("tables/counts-secret", DAYS[:1])):
            for day in days:
                rows = pa.table({"day": [day] * 3, "n": [1, 2, 3]})
                deltalake.write_deltalake(f"s3://{BUCKET}/{place}", rows, partition_by=["day"], mode="append", storage_options=options)
        fields = {"account": account, "name": "parent", "buckets": [BUCKET], "permission": "object-read-only"}
        parent = far.make("parent-keys", **fields)
        far.secrets.add(parent["secret_access_key"])
        yield far, {name: parent[name] for name in ("access_key_id", "secret_access_key")}
        assert far.leaks() == []


@pytest.fixture(scope="module")
def profiles(server, far):
    """Of who was given the share, and of who was not."""
    store, secrets = far
    server.secrets.add(secrets["secret_access_key"])
    settings = {
        "profile": "ceph",
        "sts_endpoint": f"{store.api}/sts",
        "region": "us-east-1",
        "role_arn": "arn:aws:iam:::role/role",
    }
    server.make("storages", name="far", kind="sts", endpoint=store.s3, settings=settings, secrets=secrets)
    server.make("buckets", bucket=BUCKET, storage="far")
    server.make("shares", name="far", account=server.make("accounts", name="far-provider")["name"])
    place = {"schema": "days", "bucket": BUCKET, "root": "tables/counts"}
    added = server.make("shares/far/tables", name="counts", access="url", **place)
    assert (added["access"], added["checked"]) == ("url", False)
    server.make("shares/far/tables", name="keys", access="dir", **place)
    told = {}
    for name in ("given", "other"):
        account = server.make("accounts", name=f"far-{name}")["name"]
        token = caller(server, account, "reader")
        if name == "given":
            server.make("shares/far/recipients", account=account, to="reader")
        told[name] = {"shareCredentialsVersion": 1, "endpoint": f"{server.api}/delta-sharing", "bearerToken": token}
    return told


@pytest.fixture(scope="module")
def url(profiles, tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "far.share"
    path.write_text(json.dumps(profiles["given"]))
    return f"{path}#far.days.counts"


def ask(profile, method, path, body=None, **headers):
    headers = {"Authorization": f"Bearer {profile['bearerToken']}"} | headers
    return requests.request(method, profile["endpoint"] + path, json=body, headers=headers, timeout=60)


def lines(answer):
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(scope="module")
def told(server, profiles):
    told = lines(ask(profiles["given"], "POST", f"{TABLE}/query", {"includeRefreshToken": True}))
    files = [line["file"] for line in told if "file" in line]
    assert len(files) == 2
    return files, told[-1]["endStreamAction"]


class TestPythonClient:
    @pytest.mark.parametrize("use_delta_format", [None, False, True])
    def test_reads_the_table(self, url, use_delta_format):
        frame = delta_sharing.load_as_pandas(url, use_delta_format=use_delta_format)
        assert (len(frame), sorted(set(frame["day"]))) == (6, DAYS)

    def test_reads_an_older_version(self, url):
        assert delta_sharing.get_table_version(url) == 1
        assert len(delta_sharing.load_as_pandas(url, version=0)) == 3

    def test_lists_what_was_given(self, url):
        client = delta_sharing.SharingClient(url.split("#")[0])
        assert [table.name for table in client.list_all_tables()] == ["counts", "keys"]


def test_a_table_of_keys_alone_tells_what_it_is_and_no_files(profiles):
    keys = TABLE.replace("counts", "keys")
    assert ask(profiles["given"], "GET", f"{keys}/version").headers["delta-table-version"] == "1"
    (_, metadata) = lines(ask(profiles["given"], "GET", f"{keys}/metadata"))
    assert metadata["metaData"]["accessModes"] == ["dir"]
    assert ask(profiles["given"], "POST", f"{keys}/query", {}).status_code == 400


def test_who_was_not_given_it_finds_nothing(profiles):
    for method, path in (("POST", "query"), ("GET", "version"), ("GET", "metadata")):
        assert ask(profiles["other"], method, f"{TABLE}/{path}").status_code == 404


def test_a_url_gets_its_file_and_opens_nothing_else(far, told):
    files, end = told
    for file in files:
        url = file["url"]
        assert requests.get(url, headers={"Range": "bytes=0-3"}, timeout=30).content == b"PAR1"
        assert far[1]["secret_access_key"] not in url
        path = urlsplit(url).path
        for other in ("tables/counts-secret/x", "tables/counts/_delta_log/00000000000000000000.json"):
            assert requests.get(url.replace(path, f"/{BUCKET}/{other}"), timeout=30).status_code == 403
        for call in (requests.put, requests.delete):
            assert call(url, timeout=30).status_code == 403
        longer = re.sub(r"X-Amz-Expires=\d+", "X-Amz-Expires=604800", url)
        assert requests.get(longer, timeout=30).status_code == 403
        # It ends when the credential does, which is said.
        assert int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0]) <= 3600
        assert file["expirationTimestamp"] == end["minUrlExpirationTimestamp"]


def test_urls_are_renewed_with_a_refresh_token_of_the_same_table(profiles, told):
    _, end = told
    again = lines(ask(profiles["given"], "POST", f"{TABLE}/query", {"refreshToken": end["refreshToken"]}))
    assert sum("file" in line for line in again) == 2
    broken = {"refreshToken": end["refreshToken"][:-4] + "AAAA"}
    assert ask(profiles["given"], "POST", f"{TABLE}/query", broken).status_code == 400


def test_a_revoked_lease_is_said_to_be_open_at_the_storage_until_its_end(server, profiles, told):
    files, _ = told
    leases = server.call("GET", "/api/v1/leases?limit=100", server.admin_token).json()["leases"]
    (lease, *_) = [one for one in leases if one["dialect"] == "sharing" and one["bucket"] == BUCKET]
    answer = server.call("DELETE", f"/api/v1/leases/{lease['lease_id']}", server.admin_token)
    (still,) = answer.json()["still_taken"]
    assert (still["storage"], still["revocation"]) == ("far", "expiry-only")
    assert requests.get(files[0]["url"], timeout=30).status_code == 200
    # From now on another credential signs.
    again = lines(ask(profiles["given"], "POST", f"{TABLE}/query", {}))
    key = [parse_qs(urlsplit(one["file"]["url"]).query)["X-Amz-Credential"] for one in again if "file" in one][0]
    assert key != parse_qs(urlsplit(files[0]["url"]).query)["X-Amz-Credential"]
