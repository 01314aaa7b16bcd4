"""One grant with placeholders: each caller reads and writes its own directory with an unmodified client, and nothing of another's."""

import json
import os

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from harness import Server
from test_identity import AUDIENCE, Issuer

ACCOUNT = "templated"
BUCKET = "homes"


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.http.shutdown()


@pytest.fixture(scope="module")
def templated(tmp_path_factory, issuer):
    """A server with two templates for everyone of an account: by the caller's name, and by a claim."""
    settings = {"VALETKEY_IDENTITY__PRIVATE_HOSTS": "127.0.0.1"}
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("templates"), settings) as server:
        for line in [
            ["account", "create", ACCOUNT],
            ["bucket", "create", BUCKET],
            ["identity", "add", "ci", "--issuer", issuer.url, "--audience", AUDIENCE],
            ["identity", "rule", "add", "ci", "main", "--account", ACCOUNT, "--caller", "ci-{repository_id}"]
            + ["--claim", "repository_id=glob:*"],
            ["grant", "create", "home", "--account", ACCOUNT, "--everyone", f"s3://{BUCKET}/home/{{caller.name}}"]
            + ["--template", "--access", "read-write"],
            ["grant", "create", "team", "--account", ACCOUNT, "--everyone", f"s3://{BUCKET}/team/{{claims./team}}"]
            + ["--template", "--access", "read-write", "--if-provider", "ci", "--if-claim", "repository_id=glob:*"],
        ]:
            done = server.cli(*line)
            assert done.returncode == 0, (line, done.stderr)
        yield server
        assert server.leaks() == []


@pytest.fixture(scope="module")
def tokens(templated):
    made = {}
    for name in ["ann", "anna"]:
        done = templated.cli("token", "create", name, "--account", ACCOUNT)
        assert done.returncode == 0, done.stderr
        made[name] = json.loads(done.stdout)["token"]
        templated.secrets.add(made[name])
    return made


def client(server, token, **asked):
    answer = server.call("POST", "/api/v1/credentials", token, {"access": "read-write"} | asked)
    assert answer.status == 200, answer
    vended = answer.json()
    return boto3.client(
        "s3",
        endpoint_url=vended["endpoint_url"],
        region_name=vended["region"],
        aws_access_key_id=vended["access_key_id"],
        aws_secret_access_key=vended["secret_access_key"],
        aws_session_token=vended["session_token"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def refused(ask, **kwargs):
    with pytest.raises(ClientError) as error:
        ask(Bucket=BUCKET, **kwargs)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error.value.response


def own_only(s3, own, others):
    s3.put_object(Bucket=BUCKET, Key=f"{own}/x", Body=own.encode())
    assert s3.get_object(Bucket=BUCKET, Key=f"{own}/x")["Body"].read() == own.encode()
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{own}/")
    assert [entry["Key"] for entry in listed["Contents"]] == [f"{own}/x"]
    for other in others:
        refused(s3.get_object, Key=f"{other}/x")
        refused(s3.put_object, Key=f"{other}/x", Body=b"")
        refused(s3.list_objects_v2, Prefix=f"{other}/")


def test_each_caller_has_its_own_directory_and_no_other(templated, tokens):
    for name, other in [("ann", "anna"), ("anna", "ann")]:
        s3 = client(templated, tokens[name], grant="home")
        own_only(s3, f"home/{name}", [f"home/{other}", "home", "home/{caller.name}", "team/red"])
        # A key is its bytes: this one is below one's own directory, and nothing of the other's.
        with pytest.raises(ClientError, match="NoSuchKey"):
            s3.get_object(Bucket=BUCKET, Key=f"home/{name}/../{other}/x")
        answer = templated.call("POST", "/api/v1/credentials", tokens[name], {"bucket": BUCKET, "prefix": f"home/{other}"})
        assert answer.status == 403, answer
    told = templated.cli("who-can", "read", f"s3://{BUCKET}/home/ann/x", "--account", ACCOUNT)
    assert "{caller.name} is ann" in told.stdout, (told.stdout, told.stderr)


def test_a_jwts_claim_is_its_own_directory(templated, issuer):
    def token(**claims):
        made = issuer.token(**claims)
        templated.secrets.add(made)
        return made

    s3 = client(templated, token(team="red"), grant="team")
    own_only(s3, "team/red", ["team/blue", "team", "team/reddish", "home/ci-42"])
    own_only(client(templated, token(team="red"), grant="home"), "home/ci-42", ["home/ann", "team/red"])
    for odd in ["..", ".", "red/../blue", "", "*", "red/x", "%2e%2e", 7, ["red"], None]:
        answer = templated.call("POST", "/api/v1/credentials", token(team=odd), {"grant": "team"})
        assert answer.status == 403 and b"{claims./team}" in answer.body, (odd, answer)
        # And it takes nothing of what else there is.
        client(templated, token(team=odd), grant="home")


def test_who_is_renamed_loses_the_place_to_whoever_has_the_name(templated, tokens):
    s3 = client(templated, tokens["anna"], grant="home")
    s3.put_object(Bucket=BUCKET, Key="home/anna/y", Body=b"")
    done = templated.cli("caller", "set", f"{ACCOUNT}/anna", "--name", "eve")
    assert done.returncode == 0, done.stderr
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=BUCKET, Key="home/anna/y")
    assert error.value.response["Error"]["Code"] == "ExpiredToken", error.value.response
    own_only(client(templated, tokens["anna"], grant="home"), "home/eve", ["home/anna"])
