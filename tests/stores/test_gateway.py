"""Our own endpoint in front of stores that enforce no scopes: what only shows there. What clients experience is their own
suite, which `run` runs through the gateway as well."""

import base64
import hashlib
import json
import os
import urllib.request

import pytest
from botocore.exceptions import ClientError

from behind import Behind, LocalDisk, OtherS3
from harness import MIB, demo_bytes, demo_keys
from stores import s3_client

BUCKET = "flights-lake"
# Keys that a path of a file system, a URL or a shell reads otherwise, and that are keys all the same.
ODD = ["sp ace", "pl+us", "per%2Fcent", "per%25cent", "st*r", "qu?stion", "h#sh", "br{a}ce", "q'uo\"te", "d$llar"]
ODD += ["Grüße", "日本", "😀", "a..b", "~", "x" * 200]
# Keys that a path cannot be without becoming another. A storage that speaks S3 takes them as they are.
IMPOSSIBLE = ["two//slashes", "dot/./dot", "up/../up", "ends//", "end/..", "end/."]


@pytest.fixture(scope="module", params=["local", "ceph"])
def behind(request, tmp_path_factory):
    make = tmp_path_factory.mktemp
    backend = LocalDisk(make("disk")) if request.param == "local" else OtherS3(request.getfixturevalue("ceph"))
    with Behind(os.environ["VALETKEY_BIN"], make("valetkey"), backend) as server:
        yield server
    assert len(server.secrets) > 4 and server.log.stat().st_size > 0
    assert server.leaks() == []


@pytest.fixture(scope="module")
def writing(behind):
    return behind.vend(behind.caller("read-write", BUCKET))


@pytest.fixture(scope="module")
def s3(writing):
    return writing.boto3()


def key(name: str) -> str:
    return f"flights/staging/{name}"


def code(call, **fields) -> str | None:
    """What S3 says to it; nothing if it is done."""
    try:
        call(**fields)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


class TestKeys:
    @pytest.mark.parametrize("name", ODD)
    def test_are_kept_as_they_are(self, behind, s3, name):
        at, data = key(f"odd/{name}"), os.urandom(100)
        s3.put_object(Bucket=BUCKET, Key=at, Body=data)
        assert s3.get_object(Bucket=BUCKET, Key=at)["Body"].read() == data
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=at)["Contents"]
        assert [entry["Key"] for entry in listed] == [at]
        s3.copy_object(Bucket=BUCKET, Key=f"{at}-copy", CopySource={"Bucket": BUCKET, "Key": at})
        assert s3.get_object(Bucket=BUCKET, Key=f"{at}-copy")["Body"].read() == data
        s3.delete_object(Bucket=BUCKET, Key=at)
        assert code(s3.get_object, Bucket=BUCKET, Key=at) == "NoSuchKey"

    @pytest.mark.parametrize("name", IMPOSSIBLE)
    def test_that_no_store_behind_can_hold_are_refused(self, behind, s3, name):
        """Never taken for another key: what is there already stays, and stays shut."""
        at = key(f"impossible/{name}")
        if isinstance(behind.backend, OtherS3):
            s3.put_object(Bucket=BUCKET, Key=at, Body=name.encode())
            assert s3.get_object(Bucket=BUCKET, Key=at)["Body"].read() == name.encode()
            assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix=at)["Contents"]] == [at]
            s3.delete_object(Bucket=BUCKET, Key=at)
            assert code(s3.get_object, Bucket=BUCKET, Key=at) == "NoSuchKey"
            return
        plain = [key("impossible/two/slashes"), key("impossible/dot/dot"), key("impossible/end"), key("up")]
        for other in plain:
            s3.put_object(Bucket=BUCKET, Key=other, Body=b"plain")
        assert code(s3.put_object, Bucket=BUCKET, Key=at, Body=b"x") == "InvalidArgument"
        assert code(s3.create_multipart_upload, Bucket=BUCKET, Key=at) == "InvalidArgument"
        source = {"Bucket": BUCKET, "Key": plain[0]}
        assert code(s3.copy_object, Bucket=BUCKET, Key=at, CopySource=source) == "InvalidArgument"
        assert code(s3.get_object, Bucket=BUCKET, Key=at) == "NoSuchKey"
        assert code(s3.head_object, Bucket=BUCKET, Key=at) == "404"
        code(s3.delete_object, Bucket=BUCKET, Key=at)
        for other in plain:
            assert s3.get_object(Bucket=BUCKET, Key=other)["Body"].read() == b"plain"

    def test_climb_nowhere(self, behind, s3):
        day = "2013-01-01.parquet"
        for name in (f"../daily-secret/{day}", f"../../flights/daily/{day}", "../../../airlines-lake/x"):
            assert code(s3.get_object, Bucket=BUCKET, Key=key(name)) in ("NoSuchKey", "AccessDenied")
            put = code(s3.put_object, Bucket=BUCKET, Key=key(name), Body=b"x")
            # To a storage that speaks S3 it is a key like any other, below the directory that it starts with.
            assert put is None if isinstance(behind.backend, OtherS3) else put in ("InvalidArgument", "AccessDenied")
        for bucket, forbidden in behind.forbidden:
            assert behind.backend.get(bucket, forbidden) == demo_bytes(bucket, forbidden)


class TestTheStoreBehind:
    def test_holds_what_was_written(self, behind, s3):
        s3.put_object(Bucket=BUCKET, Key=key("held"), Body=b"held")
        assert behind.backend.get(BUCKET, key("held")) == b"held"

    def test_may_change_on_its_own(self, behind, s3):
        at = key("changed")
        said = {"ContentType": "text/plain", "Metadata": {"a": "b"}}
        before = s3.put_object(Bucket=BUCKET, Key=at, Body=b"before", **said)["ETag"]
        behind.backend.put(BUCKET, at, b"after it changed")
        after = s3.get_object(Bucket=BUCKET, Key=at)
        assert after["Body"].read() == b"after it changed"
        assert after["ContentLength"] == len(b"after it changed")
        assert after["ETag"] != before and after["Metadata"] == {}
        assert code(s3.put_object, Bucket=BUCKET, Key=at, Body=b"x", IfMatch=before) == "PreconditionFailed"
        assert behind.backend.get(BUCKET, at) == b"after it changed"

    @pytest.mark.parametrize("size", [10, 9 * MIB], ids=["small", "large"])
    def test_is_written_to_on_conditions(self, s3, size):
        at, data = {"Bucket": BUCKET, "Key": key(f"conditions/{size}")}, os.urandom(size)
        first = s3.put_object(**at, Body=data, IfNoneMatch="*")["ETag"]
        assert code(s3.put_object, **at, Body=b"x", IfNoneMatch="*") == "PreconditionFailed"
        assert code(s3.put_object, **at, Body=bytes(size), IfNoneMatch="*") == "PreconditionFailed"
        second = s3.put_object(**at, Body=data, IfMatch=first)["ETag"]
        assert s3.put_object(**at, Body=data + b"x", IfMatch=second)["ETag"] != second
        for tag in (second, '"00000000000000000000000000000000"'):
            assert code(s3.put_object, **at, Body=bytes(size), IfMatch=tag) == "PreconditionFailed"
        assert s3.get_object(**at)["Body"].read() == data + b"x"

    def test_shows_what_others_put_there(self, behind, s3):
        behind.backend.put(BUCKET, key("others/1"), b"others")
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=key("others/"))["Contents"]
        assert [entry["Key"] for entry in listed] == [key("others/1")]
        assert s3.get_object(Bucket=BUCKET, Key=key("others/1"))["Body"].read() == b"others"

    @pytest.mark.parametrize("size", [10, 9 * MIB], ids=["small", "large"])
    def test_keeps_what_is_said_of_an_object(self, s3, size):
        said = {"ContentType": "text/csv", "CacheControl": "no-cache", "Metadata": {"who": "me"}}
        tag = s3.put_object(Bucket=BUCKET, Key=key("said"), Body=bytes(size), **said)["ETag"]
        got = s3.head_object(Bucket=BUCKET, Key=key("said"))
        assert {name: got[name] for name in said} == said
        assert got["ETag"] == tag == f'"{hashlib.md5(bytes(size)).hexdigest()}"'

    def test_gets_no_object_whose_bytes_are_not_those_that_were_said(self, behind, s3):
        wrong = base64.b64encode(bytes(16)).decode()
        for size in (10, 9 * MIB):
            damaged = {"Bucket": BUCKET, "Key": key("damaged"), "Body": bytes(size)}
            assert code(s3.put_object, **damaged, ContentMD5=wrong) == "BadDigest"
        assert code(s3.get_object, Bucket=BUCKET, Key=key("damaged")) == "NoSuchKey"
        with pytest.raises((OSError, ClientError)):
            behind.backend.get(BUCKET, key("damaged"))

    def test_shows_no_upload_before_it_is_complete(self, behind, s3):
        at = {"Bucket": BUCKET, "Key": key("parts/large")}
        data = os.urandom(11 * MIB)
        upload = s3.create_multipart_upload(**at)["UploadId"]
        tags = [
            s3.upload_part(**at, UploadId=upload, PartNumber=number + 1, Body=part)["ETag"]
            for number, part in enumerate([data[: 6 * MIB], data[6 * MIB :]])
        ]
        assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix=key("parts/"))
        assert code(s3.get_object, **at) == "NoSuchKey"
        whole = {"Parts": [{"PartNumber": number + 1, "ETag": tag} for number, tag in enumerate(tags)]}
        s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload=whole)
        assert s3.get_object(**at)["Body"].read() == behind.backend.get(BUCKET, at["Key"]) == data

    def test_that_does_not_answer_is_said_without_its_secrets(self, behind):
        secrets = {"access_key_id": "UNREACHABLE", "secret_access_key": "never-to-be-told-anyone"}
        behind.secrets.add(secrets["secret_access_key"])
        # Port 1 of this machine is nobody's.
        settings = {"backend": "s3", "endpoint": "http://127.0.0.1:1", "region": "us-east-1", "allow_http": True}
        behind.make("storages", name="nowhere", kind="gateway", settings=settings, secrets=secrets)
        bucket = {"bucket": "nowhere-lake", "storage": "nowhere"}
        answer = behind.call("POST", "/api/v1/buckets", behind.admin_token, bucket)
        assert answer.status in (502, 503, 504), answer
        assert secrets["secret_access_key"].encode() not in answer.body

    def test_must_have_the_bucket(self, behind):
        answer = behind.call("POST", "/api/v1/buckets", behind.admin_token, {"bucket": "not-there", "storage": "gateway"})
        # Not all stores say of a missing bucket that it is missing, so that the server cannot tell it from one that is shut.
        assert answer.status in (404, 502), answer
        assert "bucket" in answer.json()["detail"]


class TestChecks:
    def test_all_hold(self, behind):
        checked = behind.cli("storage", "check", "gateway", "--bucket", BUCKET)
        assert checked.returncode == 0, checked
        report = json.loads(checked.stdout)
        assert report["passed"] is True and report["left"] == [], report
        assert [check for check in report["checks"] if check["status"] != "passed"] == []


class TestOtherBuckets:
    def test_of_the_endpoints_own_store_are_shut(self, behind, s3):
        """Two stores of one endpoint: a key opens that of its own, whatever it names."""
        behind.make("buckets", bucket="own-lake", storage=own_storage(behind))
        caller = behind.called("owner", "acme", "read-write", "own-lake", "")
        own = behind.vend(caller, prefix=None, whole_bucket=True).boto3()
        own.put_object(Bucket="own-lake", Key=key("x"), Body=b"own")
        assert code(s3.get_object, Bucket="own-lake", Key=key("x")) == "AccessDenied"
        assert code(own.get_object, Bucket=BUCKET, Key=key("held")) == "AccessDenied"
        source = {"Bucket": BUCKET, "Key": key("held")}
        assert code(own.copy_object, Bucket="own-lake", Key="y", CopySource=source) == "AccessDenied"

    def test_are_shut_to_the_keys_of_others(self, behind, s3):
        for bucket, forbidden in behind.forbidden:
            assert code(s3.get_object, Bucket=bucket, Key=forbidden) == "AccessDenied"


class TestOtherApis:
    def test_share_a_table_by_its_files_and_as_a_directory(self, behind):
        made = behind.make("tokens", account="globex", caller="recipient")
        behind.secrets.add(made["token"])
        behind.make("shares", name="sales", account="acme")
        table = {"schema": "shop", "name": "flights", "bucket": BUCKET, "root": "tables/flights", "access": "both"}
        behind.make("shares/sales/tables", **table)
        behind.make("shares/sales/recipients", account="globex", to="recipient")
        path = "/delta-sharing/shares/sales/schemas/shop/tables/flights"

        answer = behind.call("POST", f"{path}/query", made["token"], {})
        assert answer.status == 200, answer
        files = [line["file"] for line in map(json.loads, answer.body.splitlines()) if "file" in line]
        assert files
        for file in files:
            with urllib.request.urlopen(file["url"], timeout=30) as got:
                content = got.read()
            assert len(content) == file["size"] and content.startswith(b"PAR1")

        answer = behind.call("POST", f"{path}/temporary-table-credentials", made["token"])
        assert answer.status == 200, answer
        keys = answer.json()["credentials"]["awsTempCredentials"]
        table = s3_client(behind.s3, keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])
        names = [entry["Key"] for entry in table.list_objects_v2(Bucket=BUCKET, Prefix="tables/flights/")["Contents"]]
        assert set(names) == demo_keys(BUCKET, "tables/flights")
        assert code(table.get_object, Bucket=BUCKET, Key="flights/daily/2013-01-01.parquet") == "AccessDenied"

    def test_open_with_a_parents_key(self, behind):
        reach = {"buckets": ["airlines-lake"], "permission": "object-read-only"}
        parent = behind.make("parent-keys", name="parent", account="acme", **reach)
        behind.secrets |= {parent["token"], parent["secret_access_key"]}
        s3 = s3_client(parent["endpoint"], parent["access_key_id"], parent["secret_access_key"])
        (name,) = demo_keys("airlines-lake", "airlines")
        assert s3.get_object(Bucket="airlines-lake", Key=name)["Body"].read() == demo_bytes("airlines-lake", name)
        assert code(s3.put_object, Bucket="airlines-lake", Key=name, Body=b"x") == "AccessDenied"
        assert code(s3.get_object, Bucket=BUCKET, Key="flights/daily/2013-01-01.parquet") == "AccessDenied"


def own_storage(server) -> str:
    storages = server.call("GET", "/api/v1/storages", server.admin_token).json()["storages"]
    return next(storage["name"] for storage in storages if storage["kind"] == "embedded")


@pytest.mark.parametrize("behind", ["local"], indirect=True)
class TestLocalDisk:
    def test_links_lead_nowhere(self, behind, s3, tmp_path):
        (tmp_path / "outside").write_bytes(b"outside")
        staging = behind.backend.root / BUCKET / "flights" / "staging"
        (staging / "link").symlink_to(tmp_path / "outside")
        (staging / "linked").symlink_to(tmp_path)
        for name in ("link", "linked/outside"):
            assert code(s3.get_object, Bucket=BUCKET, Key=key(name)) in ("NoSuchKey", "AccessDenied")
        for name in ("link", "linked/new"):
            code(s3.put_object, Bucket=BUCKET, Key=key(name), Body=b"x")
        assert [path.name for path in tmp_path.iterdir()] == ["outside"]
        assert (tmp_path / "outside").read_bytes() == b"outside"
