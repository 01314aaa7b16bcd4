"""An API of one's own, which a file of less than 40 lines describes: boto3 with what it hands out, and what it refuses."""

import http.client
import json
import os
import pathlib
import re
import shutil
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import harness

FILE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "dialects" / "examples" / "harbor.toml"


@pytest.fixture(scope="module")
def harbor(tmp_path_factory):
    """A server that was given the file, and two customers with a directory each."""
    directory = tmp_path_factory.mktemp("harbor")
    files = directory / "apis"
    files.mkdir()
    shutil.copy(FILE, files)
    settings = {"VALETKEY_DIALECTS__PATHS": str(files)}
    with harness.Server(os.environ["VALETKEY_BIN"], directory, settings) as server:
        server.make("buckets", bucket="harbor-lake", storage="embedded")
        server.make("accounts", name="harbor")
        server.tokens = {}
        for customer in ("acme", "acme-2"):
            made = server.make("tokens", account="harbor", caller=customer)
            server.tokens[customer] = made["token"]
            server.secrets.add(made["token"])
            server.make(
                "grants",
                name=f"customer-{customer}",
                account="harbor",
                to=customer,
                bucket="harbor-lake",
                prefix=f"customers/{customer}",
                access="read-write",
                max_ttl_secs=3600,
            )
        # What is read is read at the start: a file that is changed meanwhile changes nothing.
        (files / FILE.name).write_text("name = ")
        yield server
        assert server.leaks() == []


@pytest.fixture
def ask(harbor):
    def ask(customer="acme", body=None, method="POST", headers=None, by="acme", query="", raw=None):
        headers = {"X-Harbor-Key": harbor.tokens[by]} if headers is None else headers
        connection = http.client.HTTPConnection(urlsplit(harbor.api).netloc, timeout=30)
        try:
            sent = json.dumps(body) if body is not None else raw
            connection.request(method, f"/harbor/v1/customers/{customer}/access{query}", sent, headers)
            response = connection.getresponse()
            head = {name.lower(): value for name, value in response.getheaders()}
            answer = harness.Answer(response.status, head, response.read())
        finally:
            connection.close()
        harbor.secrets |= set(re.findall(r'"secret_access_key":"([^"]+)"', answer.body.decode()))
        return harbor.noted(answer)

    return ask


def client(answer):
    keys, s3 = answer["keys"], answer["s3"]
    return boto3.client(
        "s3",
        endpoint_url=s3["endpoint"],
        region_name=s3["region"],
        aws_access_key_id=keys["id"],
        aws_secret_access_key=keys["secret_access_key"],
        aws_session_token=keys["session_token"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def test_the_file_is_short():
    assert len(FILE.read_text().splitlines()) < 40


def test_boto3_reads_and_writes_what_the_answer_names_and_nothing_beside(ask):
    answer = ask(body={"seconds": 600}).json()
    assert answer["success"] is True
    assert answer["s3"]["prefix"] == "customers/acme"
    s3, bucket = client(answer), answer["s3"]["bucket"]
    s3.put_object(Bucket=bucket, Key="customers/acme/a.txt", Body=b"mine")
    assert s3.get_object(Bucket=bucket, Key="customers/acme/a.txt")["Body"].read() == b"mine"
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="customers/acme/")["Contents"]
    assert [entry["Key"] for entry in listed] == ["customers/acme/a.txt"]
    # A key is bytes: with `..` in it, it is one of the prefix, and nothing else.
    for key in ("customers/acme-2/a.txt", "customers/a.txt", "customers/acmes/a.txt"):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=bucket, Key=key, Body=b"not mine")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403), key
    with pytest.raises(ClientError):
        s3.list_objects_v2(Bucket=bucket, Prefix="customers/")


@pytest.mark.parametrize(
    ("asked", "status", "name"),
    [
        ({"customer": "acme-2"}, 404, "NoSuchCustomer"),
        ({"customer": "nobody"}, 404, "NoSuchCustomer"),
        ({"customer": "acme%2F..%2Facme-2"}, 422, "invalid"),
        ({"customer": "%2e%2e"}, 422, "invalid"),
        ({"customer": "*"}, 422, "invalid"),
        ({"body": {"seconds": 59}}, 422, "invalid"),
        ({"body": {"seconds": 3601}}, 422, "invalid"),
        ({"body": {"prefix": "customers/acme-2"}}, 422, "invalid"),
        ({"raw": '{"seconds":60,"seconds":3600}'}, 422, "invalid"),
        ({"raw": "{"}, 400, "malformed"),
        ({"query": "?ttl=60"}, 422, "invalid"),
        ({"method": "GET"}, 405, "wrong_method"),
        ({"headers": {}}, 401, "BadKey"),
        ({"headers": {"X-Harbor-Key": "vkt_no"}}, 401, "BadKey"),
    ],
)
def test_a_refusal_is_in_the_files_own_form(ask, asked, status, name):
    answer = ask(**asked)
    assert (answer.status, answer.json()["problem"]["name"]) == (status, name), answer.body
    assert answer.json()["success"] is False
    assert answer.json()["trace"] == answer.headers["x-request-id"]


def test_a_token_in_the_query_or_in_another_header_proves_nobody(harbor, ask):
    token = harbor.tokens["acme"]
    for asked in (
        {"query": f"?X-Harbor-Key={token}", "headers": {}},
        {"headers": {"Authorization": f"Bearer {token}"}},
    ):
        answer = ask(**asked)
        assert answer.status == 401, answer.body
        assert "www-authenticate" not in answer.headers


def test_a_body_of_a_gigabyte_is_not_waited_for(harbor, ask):
    headers = {"X-Harbor-Key": harbor.tokens["acme"], "Content-Length": "1000000000"}
    answer = ask(raw=b"{", headers=headers)
    assert (answer.status, answer.json()["problem"]["name"]) == (413, "too_large")


def test_what_was_vended_is_on_record_and_ends_with_a_revocation(harbor, ask):
    answer = ask().json()
    s3 = client(answer)
    s3.put_object(Bucket="harbor-lake", Key="customers/acme/b.txt", Body=b"")
    found = harbor.call("GET", f"/api/v1/whose/{answer['keys']['id']}", harbor.admin_token).json()
    lease = found["leases"][0] if "leases" in found else found
    assert harbor.call("DELETE", f"/api/v1/leases/{lease['lease_id']}", harbor.admin_token).status in (200, 204)
    with pytest.raises(ClientError):
        s3.put_object(Bucket="harbor-lake", Key="customers/acme/b.txt", Body=b"")


def test_it_is_described_with_the_servers_own_api(harbor):
    described = harbor.call("GET", "/openapi.json").json()["paths"]
    assert "post" in described["/harbor/v1/customers/{customer}/access"]
    assert "/api/v1/credentials" in described


def test_the_command_line_tries_it(harbor):
    path = "/harbor/v1/customers/acme/access"
    tried = harbor.cli("dialect", "try", "POST", path, "--from", str(FILE), "--body", "{}", token=harbor.tokens["acme"])
    answer = json.loads(tried.stdout)
    harbor.secrets.add(answer["body"]["keys"]["secret_access_key"])
    assert (tried.returncode, answer["status"], answer["body"]["success"]) == (0, 200, True)
    refused = harbor.cli("dialect", "try", "POST", path, "--from", str(FILE), token=harbor.tokens["acme-2"])
    assert json.loads(refused.stdout)["body"]["problem"]["name"] == "NoSuchCustomer"
    assert refused.returncode != 0
    for odd in (f"//example.com{path}", "/harbor/v1/customers/vkt_x/access"):
        assert harbor.cli("dialect", "try", "POST", odd, "--from", str(FILE)).returncode == 2, odd
