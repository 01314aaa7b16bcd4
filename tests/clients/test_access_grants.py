"""S3 Access Grants: boto3, the AWS CLI and AWS' own plugin for boto3, unmodified, at the API's address and at the S3 endpoint's."""

import json
import subprocess
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import boto3
import pytest
from aws_s3_access_grants_boto3_plugin.cache.access_denied_cache import AccessDeniedCache
from aws_s3_access_grants_boto3_plugin.cache.access_grants_cache import AccessGrantsCache
from aws_s3_access_grants_boto3_plugin.cache.account_id_resolver_cache import AccountIdResolverCache
from aws_s3_access_grants_boto3_plugin.cache.bucket_region_resolver_cache import BucketRegionResolverCache
from aws_s3_access_grants_boto3_plugin.s3_access_grants_plugin import S3AccessGrantsPlugin
from botocore.config import Config

from test_sts import AWS_1, clean, code, s3

BUCKET, SECRET = "uploads-lake", "uploads/user-124/secret.txt"
MINE = "uploads/user-123"


@pytest.fixture
def told(server):
    told = server.ready["access_grants"]
    server.secrets.add(told["secret_access_key"])
    assert told["url"] == server.api and told["target"] == f"s3://{BUCKET}/{MINE}/*"
    return told


@pytest.fixture(params=["api", "s3"])
def url(request, server, told):
    """Both addresses that it is served at, with a user name that botocore puts the account's number in front of."""
    own = told["botocore_url"] if request.param == "api" else server.s3.replace("://", "://x@")
    assert urlsplit(own).username == "x"
    return own


def control(url, key, **config):
    id, secret, token = key
    return boto3.client(
        "s3control",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.fixture
def parent(told):
    return (told["access_key_id"], told["secret_access_key"], None)


@pytest.fixture
def take(server):
    """A key of an answer, which is then looked for in the log."""

    def take(answer):
        given = answer["Credentials"]
        server.secrets |= {given["SecretAccessKey"], given["SessionToken"]}
        return given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]

    return take


@pytest.fixture
def customer(server, request):
    """A parent access key that opens nothing but `uploads/user-123`, to read and write, and `shared`, to read."""
    name = f"customer-{abs(hash(request.node.name)) % 10**8}"
    key = server.call(
        "POST",
        "/api/v1/parent-keys",
        server.admin_token,
        {"name": name, "account": "acme", "buckets": [BUCKET], "permission": "object-read-write"},
    ).json()
    server.secrets |= {key["token"], key["secret_access_key"]}
    for of, access in [(MINE, "read-write"), ("shared", "read")]:
        own = f"{name}-{of.rsplit('/')[-1]}"
        server.make("grants", name=own, account="acme", to=name, bucket=BUCKET, prefix=of, access=access)
    grants = server.call("GET", "/api/v1/grants?account=acme", server.admin_token).json()["grants"]
    [id] = [grant["id"] for grant in grants if grant["name"] == f"{name}.{BUCKET}"]
    whole = server.call("DELETE", f"/api/v1/grants/{id}", server.admin_token)
    assert whole.status in (200, 204), whole
    return (key["access_key_id"], key["secret_access_key"], None)


class TestBoto3:
    def test_takes_a_part_reads_writes_and_ends(self, server, url, told, parent, take):
        client = control(url, parent)
        ask = {"AccountId": told["account_id"], "Target": told["target"], "Privilege": "Minimal"}
        answer = client.get_data_access(Permission="READWRITE", DurationSeconds=900, **ask)
        assert answer["MatchedGrantTarget"] == told["target"]
        assert answer["Grantee"]["GranteeIdentifier"] == f"arn:aws:iam::{told['account_id']}:user/uploads"
        own = s3(server, key := take(answer))
        assert own.get_object(Bucket=BUCKET, Key=f"{MINE}/hello.txt")["Body"].read()
        own.put_object(Bucket=BUCKET, Key=f"{MINE}/by-grant.txt", Body=b"new")
        own.delete_object(Bucket=BUCKET, Key=f"{MINE}/by-grant.txt")
        denied = ("AccessDenied", 403)
        assert code(own.get_object, Bucket=BUCKET, Key=SECRET) == denied
        assert code(own.put_object, Bucket=BUCKET, Key=f"{MINE}4/x", Body=b"x") == denied
        assert code(own.list_objects_v2, Bucket=BUCKET) == denied
        reading = s3(server, take(client.get_data_access(Permission="READ", **ask)))
        assert {entry["Key"] for entry in reading.list_objects_v2(Bucket=BUCKET, Prefix=f"{MINE}/")["Contents"]}
        assert code(reading.put_object, Bucket=BUCKET, Key=f"{MINE}/x", Body=b"x") == denied
        writing = s3(server, take(client.get_data_access(Permission="WRITE", **ask)))
        writing.put_object(Bucket=BUCKET, Key=f"{MINE}/written.txt", Body=b"x")
        assert code(writing.get_object, Bucket=BUCKET, Key=f"{MINE}/hello.txt") == denied
        lease = server.call("GET", f"/api/v1/whose/{key[0]}", server.admin_token).json()["lease_id"]
        assert server.call("DELETE", f"/api/v1/leases/{lease}", server.admin_token).status == 200
        assert code(own.get_object, Bucket=BUCKET, Key=f"{MINE}/hello.txt") == ("ExpiredToken", 400)
        child = control(url, key)
        assert code(child.get_data_access, Permission="READ", **ask) == ("ExpiredToken", 400)

    def test_lists_what_there_is(self, url, told, customer):
        client = control(url, customer)
        own = {"AccountId": told["account_id"]}
        pages = client.get_paginator("list_caller_access_grants").paginate(**own, PaginationConfig={"PageSize": 1})
        rows = {(row["GrantScope"], row["Permission"]) for page in pages for row in page["CallerAccessGrantsList"]}
        expected = {(f"s3://{BUCKET}/{path}{end}", of) for path, of in [(MINE, "READWRITE"), ("shared", "READ")] for end in ["", "/*"]}
        assert rows == expected
        [location] = client.list_access_grants_locations(**own)["AccessGrantsLocationsList"]
        assert location["LocationScope"] == f"s3://{BUCKET}"
        assert client.get_access_grants_location(**own, AccessGrantsLocationId=location["AccessGrantsLocationId"])["IAMRoleArn"]
        for row in client.list_access_grants(**own, Permission="READ")["AccessGrantsList"]:
            shown = client.get_access_grant(**own, AccessGrantId=row["AccessGrantId"])
            assert (shown["GrantScope"], shown["CreatedAt"]) == (row["GrantScope"], row["CreatedAt"])
        instance = client.get_access_grants_instance(**own)
        assert instance["AccessGrantsInstanceId"] == "default"
        arn = instance["AccessGrantsInstanceArn"]
        assert arn.split(":")[4] == told["account_id"]
        assert client.list_access_grants_instances(**own)["AccessGrantsInstancesList"][0]["AccessGrantsInstanceArn"] == arn
        prefix = client.get_access_grants_instance_for_prefix
        assert prefix(**own, S3Prefix=f"s3://{BUCKET}/any")["AccessGrantsInstanceArn"] == arn
        assert code(prefix, **own, S3Prefix="s3://flights-lake/x") == ("AccessGrantsInstanceNotExistsError", 404)
        made = {"AccessGrantsLocationId": location["AccessGrantsLocationId"], "Permission": "READ"}
        grantee = {"GranteeType": "IAM", "GranteeIdentifier": f"arn:aws:iam::{told['account_id']}:user/x"}
        assert code(client.create_access_grant, **own, **made, Grantee=grantee) == ("NotImplemented", 501)

    def test_is_refused_what_was_not_granted(self, server, url, told, customer, parent):
        own = {"AccountId": told["account_id"], "Permission": "READ"}
        client, denied = control(url, customer), ("AccessDenied", 403)
        for fields, expected in [
            ({"Target": f"s3://{BUCKET}/{SECRET}"}, denied),
            ({"Target": f"s3://{BUCKET}/{MINE}*"}, denied),
            ({"Target": f"s3://{BUCKET}"}, denied),
            ({"Target": "s3://flights-lake/flights/daily/*"}, denied),
            ({"Target": "s3://airlines-lake/airlines/x"}, denied),
            ({"Target": f"s3://{BUCKET}/shared/x", "Permission": "WRITE"}, denied),
            ({"Target": f"s3://{BUCKET}/shared/x", "Permission": "READWRITE"}, denied),
            ({"Target": f"s3://{BUCKET}/shared/x", "AccountId": "123456789012"}, denied),
            ({"Target": f"s3://{BUCKET}/shared/*", "TargetType": "Object"}, ("InvalidRequest", 400)),
            ({"Target": f"s3:///{BUCKET}"}, ("InvalidRequest", 400)),
            ({"Target": f"s3://{BUCKET}/shared/x", "DurationSeconds": 43201}, ("InvalidRequest", 400)),
        ]:
            assert code(client.get_data_access, **own | fields) == expected, fields
        asked = own | {"Target": f"s3://{BUCKET}/shared/x"}
        for key, expected in [
            ((parent[0], "0" * 64, None), ("SignatureDoesNotMatch", 403)),
            (("0" * 32, parent[1], None), ("InvalidAccessKeyId", 403)),
            ((parent[0], parent[1], "x"), ("InvalidToken", 400)),
        ]:
            assert code(control(url, key).get_data_access, **asked) == expected
        assert server.call("DELETE", f"/api/v1/parent-keys/{customer[0]}", server.admin_token).status in (200, 204)
        assert code(client.get_data_access, **asked) == ("InvalidAccessKeyId", 403)

    def test_ends_when_it_says_and_is_not_to_be_kept(self, server, url, told, customer, take):
        """A grant that allows less than the plugins keep a key for."""
        name = server.call("GET", "/api/v1/parent-keys", server.admin_token).json()
        name = next(key["name"] for key in name["parent_keys"] if key["access_key_id"] == customer[0])
        brief = {"account": "acme", "to": name, "bucket": BUCKET, "prefix": f"{MINE}/brief", "max_ttl_secs": 2}
        server.make("grants", name=f"{name}-brief", **brief)
        target = f"s3://{BUCKET}/{MINE}/brief/x"
        answer = control(url, customer).get_data_access(AccountId=told["account_id"], Target=target, Permission="READ")
        assert answer["MatchedGrantTarget"] == target
        own = s3(server, take(answer))
        assert code(own.get_object, Bucket=BUCKET, Key=f"{MINE}/brief/x") == ("NoSuchKey", 404)
        while (left := (answer["Credentials"]["Expiration"] - datetime.now(UTC)).total_seconds()) >= 0:
            time.sleep(left + 0.001)
        assert code(own.get_object, Bucket=BUCKET, Key=f"{MINE}/brief/x") == ("ExpiredToken", 400)

    def test_finds_it_by_the_account_in_the_host_through_a_proxy(self, server, told, parent, take):
        """As with a name of its own: the account's number in front of the host, in absolute form."""
        client = control("http://valet.example", parent, proxies={"http": server.api})
        answer = client.get_data_access(AccountId=told["account_id"], Target=f"s3://{BUCKET}/{MINE}/hello.txt", Permission="READ")
        assert answer["MatchedGrantTarget"] == f"s3://{BUCKET}/*"
        s3(server, take(answer)).get_object(Bucket=BUCKET, Key=SECRET)


# Debian's version 2 is older than Access Grants.
def test_the_command_line_takes_one_and_uses_it(server, url, told, customer):
    def run(key, *args):
        env = clean(AWS_ACCESS_KEY_ID=key[0], AWS_SECRET_ACCESS_KEY=key[1], AWS_DEFAULT_REGION="us-east-1")
        env |= {"AWS_SESSION_TOKEN": key[2]} if key[2] else {}
        return subprocess.run([AWS_1, *args], env=env, capture_output=True, text=True, timeout=60)

    def ask(*args):
        return run(customer, "s3control", "get-data-access", "--endpoint-url", url, "--account-id", told["account_id"], "--output", "json", *args)

    answer = json.loads(ask("--target", f"s3://{BUCKET}/{MINE}/hello.txt", "--permission", "READWRITE").stdout)
    assert answer["MatchedGrantTarget"] == f"s3://{BUCKET}/{MINE}/*"
    given = answer["Credentials"]
    server.secrets |= {given["SecretAccessKey"], given["SessionToken"]}
    key = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    copy = ("s3", "cp", "--endpoint-url", server.s3)
    assert run(key, *copy, f"s3://{BUCKET}/{MINE}/hello.txt", "-").stdout.startswith("A key")
    assert run(key, *copy, __file__, f"s3://{BUCKET}/{MINE}/copied.py").returncode == 0
    assert "403" in run(key, *copy, f"s3://{BUCKET}/{SECRET}", "-").stderr
    refused = ask("--target", f"s3://{BUCKET}/shared/x", "--permission", "WRITE")
    assert refused.returncode and "(AccessDenied)" in refused.stderr, refused


class TestPlugin:
    """What a user writes: two lines, and boto3 asks for each place by itself."""

    @pytest.fixture(params=["apart", "one endpoint"])
    def client(self, request, server, told, customer, monkeypatch):
        for name, value in [
            ("access_grants_cache", AccessGrantsCache()),
            ("access_denied_cache", AccessDeniedCache()),
            ("bucket_region_cache", BucketRegionResolverCache()),
            ("client_dict", {}),
        ]:
            monkeypatch.setattr(S3AccessGrantsPlugin, name, value)
        monkeypatch.setattr(AccessGrantsCache, "account_id_resolver_cache", AccountIdResolverCache())
        addresses = {"AWS_ENDPOINT_URL_STS": f"{server.api}/sts", "AWS_ENDPOINT_URL_S3": server.s3, "AWS_ENDPOINT_URL_S3_CONTROL": told["botocore_url"]}
        if request.param == "one endpoint":
            addresses = {"AWS_ENDPOINT_URL": server.s3, "AWS_ENDPOINT_URL_S3_CONTROL": server.s3.replace("://", "://x@")}
        environment = {"AWS_ACCESS_KEY_ID": customer[0], "AWS_SECRET_ACCESS_KEY": customer[1], "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in (environment | addresses).items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
        self.plugin = S3AccessGrantsPlugin(client, fallback_enabled=False)
        self.plugin.register()
        yield client
        for kept in self.plugin.access_grants_cache.access_grants_cache.values():
            server.secrets |= {kept["SecretAccessKey"], kept["SessionToken"]}

    def test_reads_and_writes_and_keeps_what_it_got(self, server, client):
        assert client.get_object(Bucket=BUCKET, Key=f"{MINE}/hello.txt")["Body"].read().startswith(b"A key")
        kept = list(self.plugin.access_grants_cache.access_grants_cache.keys())
        assert [key.s3_prefix for key in kept] == [f"s3://{BUCKET}/{MINE}"]
        client.put_object(Bucket=BUCKET, Key=f"{MINE}/by-plugin.txt", Body=b"new")
        client.copy_object(Bucket=BUCKET, Key=f"{MINE}/copy.txt", CopySource=f"{BUCKET}/{MINE}/by-plugin.txt")
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{MINE}/")["Contents"]
        assert {f"{MINE}/hello.txt", f"{MINE}/by-plugin.txt", f"{MINE}/copy.txt"} <= {entry["Key"] for entry in listed}
        client.delete_object(Bucket=BUCKET, Key=f"{MINE}/copy.txt")
        for _ in range(3):
            client.head_object(Bucket=BUCKET, Key=f"{MINE}/hello.txt")
        # One for each permission, however often it is used.
        assert sorted(key.permission for key in self.plugin.access_grants_cache.access_grants_cache.keys()) == ["READ", "READWRITE", "WRITE"]

    def test_is_refused_and_remembers_it(self, client):
        for call, fields in [
            (client.get_object, {"Key": SECRET}),
            (client.get_object, {"Key": SECRET}),
            (client.put_object, {"Key": "shared/x", "Body": b"x"}),
            (client.list_objects_v2, {"Prefix": "uploads/"}),
            (client.head_bucket, {}),
        ]:
            assert code(call, Bucket=BUCKET, **fields) == ("AccessDenied", 403)
        client.get_object(Bucket=BUCKET, Key="shared/manifest.json")
