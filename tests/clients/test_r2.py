"""Cloudflare R2: its own SDKs against the API, and the keys that come of it, or are signed locally, in other clients' hands."""

import base64
import hashlib
import itertools
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import boto3
import cloudflare
import jwt
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from harness import MIB

SCRIPT = Path(__file__).with_name("r2.mjs")
PERMISSIONS = ["object-read-only", "object-read-write", "admin-read-only", "admin-read-write"]
_numbers = itertools.count()


class Keys:
    """The three parts of a credential."""

    def __init__(self, server, access_key_id, secret_access_key, session_token=None):
        self.server = server
        self.access_key_id, self.secret_access_key = access_key_id, secret_access_key
        self.session_token = session_token
        server.secrets |= {secret for secret in (secret_access_key, session_token) if secret}

    def boto3(self, **config):
        return boto3.client(
            "s3",
            endpoint_url=self.server.s3,
            region_name="auto",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_session_token=self.session_token,
            config=Config(**{"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **config}),
        )

    def js(self):
        named = {"accessKeyId": self.access_key_id, "secretAccessKey": self.secret_access_key}
        return named | ({"sessionToken": self.session_token} if self.session_token else {})


class Parent:
    """A parent access key, as its holder has it."""

    def __init__(self, server, account_id, token, access_key_id, secret_access_key):
        self.server, self.account_id, self.token = server, account_id, token
        self.access_key_id, self.secret_access_key = access_key_id, secret_access_key
        server.secrets |= {token, secret_access_key}
        self.host = urllib.parse.urlsplit(server.s3).netloc

    @property
    def keys(self):
        return Keys(self.server, self.access_key_id, self.secret_access_key)

    @property
    def env(self):
        return {"CLOUDFLARE_BASE_URL": f"{self.server.api}/client/v4", "CLOUDFLARE_API_TOKEN": self.token}

    def client(self, **options):
        return cloudflare.Cloudflare(**{"api_token": self.token, "max_retries": 0} | options)

    def mint(self, bucket, permission="object-read-write", ttl=900, client=None, **fields):
        answer = (client or self.client()).r2.temporary_credentials.create(
            account_id=self.account_id,
            bucket=bucket,
            parent_access_key_id=self.access_key_id,
            permission=permission,
            ttl_seconds=ttl,
            **fields,
        )
        return Keys(self.server, answer.access_key_id, answer.secret_access_key, answer.session_token)

    def claims(self, bucket, permission="object-read-write", ttl=900, **fields):
        now = int(time.time())
        claims = {"bucket": bucket, "scope": permission, "sub": self.account_id, "iss": self.access_key_id}
        return claims | {"aud": self.host, "iat": now, "exp": now + ttl} | fields

    def sign(self, bucket, permission="object-read-write", ttl=900, **fields):
        return self.signed(self.claims(bucket, permission, ttl, **fields))

    def signed(self, claims, key=None):
        token = jwt.encode(claims, key or self.secret_access_key, algorithm="HS256")
        return self.of(token)

    def of(self, token):
        secret = hashlib.sha256(token.encode()).hexdigest()
        return Keys(self.server, self.access_key_id, secret, base64.b64encode(f"jwt/{token}".encode()).decode())


@pytest.fixture
def parent(server, monkeypatch):
    """The demo's."""
    r2 = server.ready["r2"]
    assert r2["base_url"] == f"{server.api}/client/v4" and server.s3.endswith(r2["s3_host"])
    assert hashlib.sha256(r2["api_token"].encode()).hexdigest() == r2["parent_secret_access_key"]
    parent = Parent(
        server, r2["account_id"], r2["api_token"], r2["parent_access_key_id"], r2["parent_secret_access_key"]
    )
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", r2["base_url"])
    return parent


@pytest.fixture
def bucket(server):
    return server.ready["r2"]["bucket"]


@pytest.fixture
def make(server, monkeypatch):
    """Makes parents."""
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", f"{server.api}/client/v4")

    def make(buckets, permission):
        body = {"name": f"made-{next(_numbers)}", "account": "acme", "buckets": buckets, "permission": permission}
        answer = server.call("POST", "/api/v1/parent-keys", server.admin_token, body)
        assert answer.status == 201, answer
        made = answer.json()
        return Parent(
            server, made["account_id"], made["token"], made["access_key_id"], made["secret_access_key"]
        )

    return make


@pytest.fixture
def js(parent):
    """Calls the JavaScript clients."""
    process = subprocess.Popen(
        ["node", SCRIPT], env=os.environ | parent.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def call(operation, **fields):
        print(json.dumps({"operation": operation, **fields}), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    yield call
    process.communicate(timeout=10)


def code(call, *args, **fields):
    """The code and status that an S3 operation was refused with; nothing if it was not."""
    try:
        call(*args, **fields)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


def both(parent, bucket, permission="object-read-write", **paths):
    """The same credential twice: made by the API, and signed here."""
    named = {"prefixPaths": paths.get("prefixes", []), "objectPaths": paths.get("objects", [])}
    yield parent.mint(bucket, permission, **paths)
    yield parent.sign(bucket, permission, **({"paths": named} if paths else {}))


class TestApi:
    def test_the_python_sdk_is_answered(self, parent, bucket):
        answer = parent.client().r2.temporary_credentials.with_raw_response.create(
            account_id=parent.account_id,
            bucket=bucket,
            parent_access_key_id=parent.access_key_id,
            permission="object-read-only",
            ttl_seconds=900.0,
            prefixes=["uploads/user-123/"],
            objects=["shared/manifest.json"],
        )
        body = answer.http_response.json()
        assert set(body) == {"result", "success", "errors", "messages"}
        assert (body["success"], body["errors"], body["messages"]) == (True, [], [])
        assert set(body["result"]) == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}
        credentials = answer.parse()
        keys = Keys(parent.server, credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
        s3 = keys.boto3()
        assert s3.get_object(Bucket=bucket, Key="uploads/user-123/hello.txt")["Body"].read().startswith(b"A key")
        s3.head_object(Bucket=bucket, Key="shared/manifest.json")
        assert code(s3.get_object, Bucket=bucket, Key="uploads/user-124/secret.txt") == ("AccessDenied", 403)

    def test_global_keys_are_taken_too(self, parent, bucket, monkeypatch):
        monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
        client = cloudflare.Cloudflare(api_key=parent.token, api_email="someone@example.com", max_retries=0)
        parent.mint(bucket, client=client).boto3().head_bucket(Bucket=bucket)

    def test_the_javascript_sdk_is_answered(self, parent, bucket, js):
        fields = {
            "account_id": parent.account_id,
            "bucket": bucket,
            "parentAccessKeyId": parent.access_key_id,
            "permission": "object-read-only",
            "ttlSeconds": 900,
            "prefixes": ["uploads/user-123/"],
        }
        value = js("mint", **fields)["value"]
        assert set(value) == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}
        keys = Keys(parent.server, value["accessKeyId"], value["secretAccessKey"], value["sessionToken"])
        keys.boto3().get_object(Bucket=bucket, Key="uploads/user-123/hello.txt")
        refused = js("mint", **fields | {"permission": "everything"})["error"]
        assert (refused["name"], refused["status"], refused["errors"][0]["code"]) == ("BadRequestError", 400, 10040)
        assert js("verify")["value"] == {"id": parent.access_key_id, "status": "active"}

    @pytest.mark.parametrize(
        "error, number, pointer, fields",
        [
            (cloudflare.BadRequestError, 10040, "/permission", {"permission": "everything"}),
            (cloudflare.BadRequestError, 10040, "/ttlSeconds", {"ttl_seconds": 0}),
            (cloudflare.BadRequestError, 10040, "/ttlSeconds", {"ttl_seconds": 604_801}),
            (cloudflare.BadRequestError, 10040, "/prefixes", {"prefixes": [], "objects": []}),
            (cloudflare.BadRequestError, 10005, "/bucket", {"bucket": "Not A Bucket"}),
            (cloudflare.BadRequestError, 10040, "/prefix", {"extra_body": {"prefix": "a/"}}),
            (cloudflare.NotFoundError, 10006, "/bucket", {"bucket": "nowhere-at-all"}),
            (cloudflare.NotFoundError, 10006, "/bucket", {"bucket": "airlines-lake"}),
            (cloudflare.NotFoundError, 7003, "/account_id", {"account_id": "023e105f4ecef8ad9ca31a8372d0c353"}),
            (cloudflare.PermissionDeniedError, 10003, "/parentAccessKeyId", {"parent_access_key_id": "f" * 32}),
        ],
    )
    def test_the_python_sdk_is_refused_in_its_own_exceptions(self, parent, bucket, error, number, pointer, fields):
        good = {
            "account_id": parent.account_id,
            "bucket": bucket,
            "parent_access_key_id": parent.access_key_id,
            "permission": "object-read-only",
            "ttl_seconds": 900,
        }
        with pytest.raises(error) as refused:
            parent.client().r2.temporary_credentials.create(**good | fields)
        (told,) = refused.value.errors
        assert told.code == number
        body = refused.value.response.json()
        assert (body["success"], body["result"], body["messages"]) == (False, None, [])
        assert body["errors"][0].get("source", {}).get("pointer") == pointer

    def test_strangers_are_told_apart_from_nobody(self, parent, bucket, reader):
        with pytest.raises(cloudflare.AuthenticationError) as refused:
            parent.mint(bucket, client=parent.client(api_token="vkt_unknown"))
        assert refused.value.errors[0].code == 10000
        # A caller of the same account without a right to the parent.
        with pytest.raises(cloudflare.PermissionDeniedError):
            parent.mint(bucket, client=parent.client(api_token=reader.token))

    def test_a_token_tells_its_own_access_key_id(self, parent):
        client = parent.client()
        assert client.user.tokens.verify().id == parent.access_key_id
        assert client.accounts.tokens.verify(account_id=parent.account_id).status == "active"
        with pytest.raises(cloudflare.NotFoundError):
            client.accounts.tokens.verify(account_id="023e105f4ecef8ad9ca31a8372d0c353")


class TestClients:
    """What is minted or signed, in the hands of others."""

    def test_aws4fetch_reads_writes_and_presigns(self, parent, bucket, js):
        inside = f"{parent.server.s3}/{bucket}/uploads/user-123/hello.txt"
        beside = f"{parent.server.s3}/{bucket}/uploads/user-124/secret.txt"
        for keys in [*both(parent, bucket, prefixes=["uploads/user-123/"]), parent.keys]:
            for presign in [False, True]:
                answer = js("fetch", credentials=keys.js(), url=inside, presign=presign)["value"]
                assert (answer["status"], answer["text"][:5]) == (200, "A key")
            new = f"{parent.server.s3}/{bucket}/uploads/user-123/aws4fetch.txt"
            assert js("fetch", credentials=keys.js(), url=new, method="PUT", body="new")["value"]["status"] == 200
            assert js("fetch", credentials=keys.js(), url=new)["value"]["text"] == "new"
            denied = js("fetch", credentials=keys.js(), url=beside)["value"]
            assert denied["status"] == (403 if keys.session_token else 200)

    def test_the_documented_javascript_signs_what_boto3_uses(self, parent, bucket, js):
        value = js(
            "sign",
            parentSecretAccessKey=parent.secret_access_key,
            parentAccessKeyId=parent.access_key_id,
            accountId=parent.account_id,
            endpoint=parent.server.s3,
            ttl=900,
            claims={
                "bucket": bucket,
                "scope": "object-read-only",
                "paths": {"prefixPaths": ["uploads/user-123/"], "objectPaths": []},
            },
        )["value"]
        s3 = Keys(parent.server, value["accessKeyId"], value["secretAccessKey"], value["sessionToken"]).boto3()
        s3.get_object(Bucket=bucket, Key="uploads/user-123/hello.txt")
        assert code(s3.get_object, Bucket=bucket, Key="shared/manifest.json") == ("AccessDenied", 403)
        assert code(s3.put_object, Bucket=bucket, Key="uploads/user-123/x", Body=b"") == ("AccessDenied", 403)

    def test_rclone_copies_there_and_back(self, parent, bucket, tmp_path):
        (tmp_path / "source").write_bytes(os.urandom(6 * MIB))
        for keys in [*both(parent, bucket, prefixes=["rclone/"]), parent.keys]:
            remote = {
                "type": "s3",
                "provider": "Cloudflare",
                "access_key_id": keys.access_key_id,
                "secret_access_key": keys.secret_access_key,
                "session_token": keys.session_token or "",
                "region": "auto",
                "endpoint": parent.server.s3,
                "no_check_bucket": "true",
                "upload_cutoff": "5M",
                "chunk_size": "5M",
            }
            env = os.environ | {f"RCLONE_CONFIG_R_{name.upper()}": value for name, value in remote.items()}

            def rclone(*args):
                command = ["rclone", "--config", os.devnull, "--retries", "1", "--low-level-retries", "1", *args]
                return subprocess.run(command, env=env, capture_output=True, timeout=60)

            assert rclone("copyto", str(tmp_path / "source"), f"r:{bucket}/rclone/big").returncode == 0
            assert rclone("lsf", f"r:{bucket}/rclone/").stdout == b"big\n"
            assert rclone("copyto", f"r:{bucket}/rclone/big", str(tmp_path / "back")).returncode == 0
            assert (tmp_path / "back").read_bytes() == (tmp_path / "source").read_bytes()
            outside = rclone("cat", f"r:{bucket}/uploads/user-124/secret.txt")
            assert (outside.returncode == 0) == (keys.session_token is None)
            assert rclone("deletefile", f"r:{bucket}/rclone/big").returncode == 0

    def test_a_presigned_url_lives_no_longer_than_its_key(self, parent, bucket):
        for keys in both(parent, bucket, objects=["shared/manifest.json"]):
            signed = keys.boto3(signature_version="s3v4").generate_presigned_url
            url = signed("get_object", Params={"Bucket": bucket, "Key": "shared/manifest.json"}, ExpiresIn=60)
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.status == 200
        short = parent.sign(bucket, "object-read-only", ttl=2)
        url = short.boto3(signature_version="s3v4").generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": "shared/manifest.json"}, ExpiresIn=600
        )
        end = jwt.decode(base64.b64decode(short.session_token)[4:], options={"verify_signature": False})["exp"]
        while (left := end - time.time()) >= 0:
            time.sleep(left + 0.001)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=30)
        assert refused.value.status == 400 and b"ExpiredToken" in refused.value.read()

    def test_virtual_hosts_are_taken_out_of_the_audience(self, parent, bucket, monkeypatch):
        port = parent.host.rsplit(":", 1)[1]
        # Not every resolver knows the names below `localhost`.
        resolve = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *args, **named: resolve("127.0.0.1" if host.endswith(".localhost") else host, *args, **named),
        )
        keys = parent.sign(bucket, "object-read-only", aud=f"s3.localhost:{port}")
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://s3.localhost:{port}",
            region_name="auto",
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            aws_session_token=keys.session_token,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "virtual"}),
        )
        s3.head_object(Bucket=bucket, Key="shared/manifest.json")
        assert code(keys.boto3().get_object, Bucket=bucket, Key="shared/manifest.json") == ("InvalidArgument", 400)


def operations(s3, bucket, key):
    """Every operation of the table: its name and a call that does it."""
    cors = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
    at = {"Bucket": bucket, "Key": key}
    return {
        "get": lambda: s3.get_object(**at),
        "put": lambda: s3.put_object(**at, Body=b"new"),
        "list": lambda: s3.list_objects_v2(Bucket=bucket, Prefix=key),
        "delete": lambda: s3.delete_object(Bucket=bucket, Key=f"{key}-gone"),
        "multipart": lambda: s3.create_multipart_upload(**at),
        "copy": lambda: s3.copy_object(Bucket=bucket, Key=f"{key}-copy", CopySource=f"{bucket}/{key}"),
        "get config": lambda: s3.get_bucket_cors(Bucket=bucket),
        # What is put is taken away again: the next one finds none.
        "put config": lambda: (s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=cors), s3.delete_bucket_cors(Bucket=bucket)),
    }


READS = {"get", "list"}
WRITES = {"put", "delete", "multipart", "copy"}
ALLOWED = {
    "object-read-only": READS,
    "object-read-write": READS | WRITES,
    "admin-read-only": READS | {"get config"},
    "admin-read-write": READS | WRITES | {"get config", "put config"},
}
# What is allowed and still refused: there is no configuration yet.
TOLD = {"get config": ("NoSuchCORSConfiguration", 404)}


@pytest.mark.parametrize("permission", PERMISSIONS)
class TestTable:
    """Four permissions, operation by operation, inside and outside: minted and signed."""

    def hold(self, s3, bucket, inside, outside, permission, config=True):
        for what, call in operations(s3, bucket, inside).items():
            allowed = what in ALLOWED[permission] and (config or "config" not in what)
            assert code(call) == (TOLD.get(what) if allowed else ("AccessDenied", 403)), (what, inside)
        for place, key in outside:
            for what, call in operations(s3, place, key).items():
                if place == bucket and "config" in what:
                    continue
                assert code(call) == ("AccessDenied", 403), (what, place, key)

    def test_of_a_whole_bucket(self, parent, bucket, permission):
        parent.keys.boto3().put_object(Bucket=bucket, Key="table/k", Body=b"k")
        for keys in both(parent, bucket, permission):
            self.hold(keys.boto3(), bucket, "table/k", [("flights-lake", "flights/daily/2013-01-01.parquet")], permission)

    def test_of_prefixes_and_objects(self, parent, bucket, permission):
        for key in ["table/in/k", "table/inside", "table/o", "table/out/k"]:
            parent.keys.boto3().put_object(Bucket=bucket, Key=key, Body=b"k")
        outside = [(bucket, "table/out/k"), (bucket, "table/o/k"), (bucket, "table/ins"), ("airlines-lake", "table/in/k")]
        for keys in both(parent, bucket, permission, prefixes=["table/in/"], objects=["table/o"]):
            self.hold(keys.boto3(), bucket, "table/in/k", outside, permission, config=False)
            keys.boto3().get_object(Bucket=bucket, Key="table/o")
        # A raw prefix goes on behind its last letter.
        for keys in both(parent, bucket, permission, prefixes=["table/in"]):
            keys.boto3().get_object(Bucket=bucket, Key="table/inside")

    def test_of_a_parent(self, make, bucket, permission):
        parent = make([bucket], permission)
        s3 = parent.keys.boto3()
        for what, call in operations(s3, bucket, "table/k").items():
            assert code(call) == (TOLD.get(what) if what in ALLOWED[permission] else ("AccessDenied", 403)), what
        # Nothing made of it is wider: refused by the API, and cut at the endpoint.
        for wider in PERMISSIONS:
            if not ALLOWED[wider] <= ALLOWED[permission]:
                with pytest.raises(cloudflare.PermissionDeniedError) as refused:
                    parent.mint(bucket, wider)
                assert refused.value.errors[0].code == 10003
                child = parent.sign(bucket, wider).boto3()
                for what, call in operations(child, bucket, "table/k").items():
                    allowed = what in ALLOWED[permission] & ALLOWED[wider]
                    assert code(call) == (TOLD.get(what) if allowed else ("AccessDenied", 403)), (wider, what)


class TestEnds:
    def test_a_disabled_parent_ends_both_kinds_at_once(self, make, bucket, server):
        parent = make([bucket], "object-read-write")
        children = list(both(parent, bucket))
        for keys in [*children, parent.keys]:
            keys.boto3().head_object(Bucket=bucket, Key="shared/manifest.json")
        answer = server.call("DELETE", f"/api/v1/parent-keys/{parent.access_key_id}", server.admin_token)
        assert answer.status == 200 and answer.json()["disabled"]
        minted, signed = children
        at = {"Bucket": bucket, "Key": "shared/manifest.json"}
        assert code(minted.boto3().get_object, **at) == ("ExpiredToken", 400)
        for keys in [signed, parent.sign(bucket), parent.keys]:
            assert code(keys.boto3().get_object, **at) == ("InvalidAccessKeyId", 403)
        with pytest.raises(cloudflare.AuthenticationError):
            parent.mint(bucket)

    def test_one_child_is_ended_by_what_was_signed(self, parent, bucket, server):
        claims = [parent.claims(bucket, jti=name) for name in ("one", "two", "three")]
        at = {"Bucket": bucket, "Key": "shared/manifest.json"}
        for one in claims:
            parent.signed(one).boto3().get_object(**at)
        path = f"/api/v1/parent-keys/{parent.access_key_id}/revocations"
        assert server.call("POST", path, parent.token, {"claims": claims[0]}).json() == {"ended": 1}
        token = parent.signed(claims[1]).session_token
        assert server.call("POST", path, parent.token, {"session_token": token}).json() == {"ended": 1}
        # In whatever order the claims are written.
        reordered = dict(reversed(claims[0].items()))
        for one in [claims[0], reordered, claims[1]]:
            assert code(parent.signed(one).boto3().get_object, **at) == ("ExpiredToken", 400)
        parent.signed(claims[2]).boto3().get_object(**at)

    def test_several_buckets_of_one_parent(self, make, bucket):
        parent = make([bucket, "flights-lake"], "object-read-only")
        s3 = parent.keys.boto3()
        s3.head_object(Bucket=bucket, Key="shared/manifest.json")
        s3.head_object(Bucket="flights-lake", Key="flights/daily/2013-01-01.parquet")
        for keys in both(parent, "flights-lake", "object-read-only", prefixes=["flights/daily/"]):
            assert keys.boto3().list_objects_v2(Bucket="flights-lake", Prefix="flights/daily/")["KeyCount"] == 5
            assert code(keys.boto3().head_object, Bucket=bucket, Key="shared/manifest.json") == ("403", 403)


class TestForgeries:
    def test_what_is_wrong_with_a_token_is_said_as_r2_says_it(self, parent, bucket):
        good = parent.claims(bucket)
        at = {"Bucket": bucket, "Key": "shared/manifest.json"}
        parent.signed(good).boto3().get_object(**at)
        token = jwt.encode(good, parent.secret_access_key, algorithm="HS256")
        front, payload, signature = token.split(".")
        wider = base64.urlsafe_b64encode(json.dumps(good | {"bucket": "flights-lake"}).encode()).decode().rstrip("=")
        invalid, forged = ("InvalidArgument", 400), ("InvalidToken", 403)
        for name, keys, expected in [
            ("tampered, its secret made anew", parent.of(f"{front}.{wider}.{signature}"), forged),
            ("another key", parent.signed(good, key="0" * 64), forged),
            ("raw bytes as key", parent.signed(good, key=bytes.fromhex(parent.secret_access_key)), forged),
            ("no signature", parent.of(f"{front}.{payload}."), invalid),
            ("HS512", parent.of(jwt.encode(good, parent.secret_access_key, algorithm="HS512")), invalid),
            ("wrong aud", parent.signed(good | {"aud": "elsewhere.r2.cloudflarestorage.com"}), invalid),
            ("aud as a list", parent.signed(good | {"aud": [parent.host]}), invalid),
            ("wrong sub", parent.signed(good | {"sub": "0" * 32}), invalid),
            ("wrong iss", parent.signed(good | {"iss": "0" * 32}), invalid),
            ("unknown scope", parent.signed(good | {"scope": "everything"}), invalid),
            ("empty paths", parent.signed(good | {"paths": {"prefixPaths": [], "objectPaths": []}}), invalid),
            ("too long", parent.signed(good | {"exp": good["iat"] + 604_801}), invalid),
            ("from the future", parent.signed(good | {"iat": good["iat"] + 2000, "exp": good["iat"] + 3000}), invalid),
            ("over", parent.signed(good | {"iat": good["iat"] - 900, "exp": good["iat"]}), ("ExpiredToken", 400)),
            ("no token", Keys(parent.server, parent.access_key_id, parent.of(token).secret_access_key), ("SignatureDoesNotMatch", 403)),
        ]:
            assert code(keys.boto3().get_object, **at) == expected, name

    def test_actions_name_operations(self, parent, bucket):
        s3 = parent.sign(bucket, "object-read-only", actions=["GetObject", "HeadObject"]).boto3()
        s3.get_object(Bucket=bucket, Key="shared/manifest.json")
        assert code(s3.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
        s3 = parent.mint(bucket, extra_body={"actions": ["GetObject", "HeadObject"]}).boto3()
        s3.get_object(Bucket=bucket, Key="shared/manifest.json")
        assert code(s3.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
        assert code(s3.put_object, Bucket=bucket, Key="x", Body=b"") == ("AccessDenied", 403)


class TestCommandLine:
    def run(self, server, *args, data=None):
        env = os.environ | {"VALETKEY_SERVER": server.api, "VALETKEY_TOKEN": server.admin_token}
        done = subprocess.run([os.environ["VALETKEY_BIN"], *args], env=env, input=data, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_parents_are_made_listed_and_ended(self, server, bucket):
        name = f"made-{next(_numbers)}"
        made = json.loads(
            self.run(
                server, "parent-key", "create", name, "--account", "acme", "--bucket", bucket,
                "--permission", "object-read-only", "--ttl", "1h", "--output", "json",
            )
        )  # fmt: skip
        parent = Parent(server, made["account_id"], made["token"], made["access_key_id"], made["secret_access_key"])
        assert made["endpoint"] == server.s3
        at = {"Bucket": bucket, "Key": "shared/manifest.json"}
        child, sibling = parent.sign(bucket, "object-read-only"), parent.sign(bucket, "object-read-only", ttl=60)
        child.boto3().get_object(**at)
        self.run(server, "parent-key", "end-child", parent.access_key_id, data=child.session_token)
        assert code(child.boto3().get_object, **at) == ("ExpiredToken", 400)
        sibling.boto3().get_object(**at)
        listed = self.run(server, "parent-key", "ls", "--account", "acme")
        assert parent.access_key_id in listed and parent.secret_access_key not in listed
        self.run(server, "parent-key", "disable", parent.access_key_id)
        assert code(sibling.boto3().get_object, **at) == ("InvalidAccessKeyId", 403)
