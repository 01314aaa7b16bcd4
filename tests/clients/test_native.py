"""Vending and revoking through the native API: what the other files take for granted."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from harness import FLIGHTS, demo_bytes, demo_keys


def check_problem(answer, *statuses):
    assert answer.status in statuses, answer
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status
    assert body["title"]


def vend(server, token, **body):
    return server.call("POST", "/api/v1/credentials", token, body)


class TestVending:
    def test_answers_what_was_asked(self, server, reader):
        before = datetime.now(UTC)
        lease = server.vend(reader, ttl=900)
        assert lease.endpoint == server.s3
        assert lease.prefix == reader.prefix
        left = lease.expiration - before
        assert timedelta(seconds=898) <= left <= timedelta(seconds=902)

    def test_narrows_to_a_folder(self, server, writer, writing, folder):
        for name in ("inner/x", "outer/x"):
            writing.boto3().put_object(Bucket=writing.bucket, Key=f"{folder}/{name}", Body=b"x")
        lease = server.vend(writer, prefix=f"{folder}/inner")
        assert lease.keys(f"{folder}/inner") == {f"{folder}/inner/x"}
        with pytest.raises(ClientError, match="AccessDenied"):
            lease.get(f"{folder}/outer/x")

    def test_narrows_to_objects(self, server, reader):
        lease = server.vend(reader, prefix=None, objects=[FLIGHTS])
        assert lease.objects == [FLIGHTS]
        assert lease.get(FLIGHTS) == demo_bytes(reader.bucket, FLIGHTS)
        with pytest.raises(ClientError, match="AccessDenied"):
            lease.get("flights/daily/2013-01-02.parquet")
        with pytest.raises(ClientError, match="AccessDenied"):
            lease.keys(reader.prefix)

    def test_narrows_to_reading(self, server, writer, folder):
        lease = server.vend(writer, access="read")
        assert lease.keys(f"{folder}/") == set()
        with pytest.raises(ClientError, match="AccessDenied"):
            lease.boto3().put_object(Bucket=lease.bucket, Key=f"{folder}/x", Body=b"x")

    def test_reads_here_and_writes_there(self, server, writer, writing, folder):
        """One key for two places, each with what it allows."""
        bucket = writing.bucket
        for name in ("data/x", "data/tmp/old", "beside/x"):
            writing.boto3().put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=b"before")
        parts = [{"prefix": f"{folder}/data", "access": "read"}, {"prefix": f"{folder}/data/tmp", "access": "write"}]
        answer = vend(server, writer.token, bucket=bucket, parts=parts, ttl_secs=900)
        assert answer.status == 200, answer
        vended = answer.json()
        server.secrets |= {vended["secret_access_key"], vended["session_token"]}
        assert sorted((part["access"], part["prefixes"]) for part in vended["parts"]) == [
            ("read", [f"{folder}/data"]),
            ("write", [f"{folder}/data/tmp"]),
        ]
        assert "prefixes" not in vended and "access" not in vended and vended["cuts"] == []
        client = boto3.client(
            "s3",
            endpoint_url=server.s3,
            region_name=vended["region"],
            aws_access_key_id=vended["access_key_id"],
            aws_secret_access_key=vended["secret_access_key"],
            aws_session_token=vended["session_token"],
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        key = lambda name: {"Bucket": bucket, "Key": f"{folder}/{name}"}
        for name in ("data/x", "data/tmp/old"):
            assert client.get_object(**key(name))["Body"].read() == b"before"
        client.put_object(**key("data/tmp/new"), Body=b"new")
        assert client.get_object(**key("data/tmp/new"))["Body"].read() == b"new"
        listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/data/")
        assert [one["Key"] for one in listed["Contents"]] == [f"{folder}/data/{name}" for name in ("tmp/new", "tmp/old", "x")]
        upload = client.create_multipart_upload(**key("data/tmp/big"))["UploadId"]
        client.abort_multipart_upload(**key("data/tmp/big"), UploadId=upload)
        refused = [
            lambda: client.put_object(**key("data/x"), Body=b"after"),
            lambda: client.put_object(**key("data/tmp2"), Body=b"after"),
            lambda: client.create_multipart_upload(**key("data/big")),
            lambda: client.get_object(**key("beside/x")),
            lambda: client.delete_object(**key("data/tmp/old")),
            lambda: client.delete_object(**key("data/x")),
            lambda: client.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/"),
            lambda: client.copy_object(**key("data/tmp/copy"), CopySource={"Bucket": bucket, "Key": f"{folder}/beside/x"}),
            lambda: client.copy_object(**key("data/copy"), CopySource={"Bucket": bucket, "Key": f"{folder}/data/x"}),
        ]
        for call in refused:
            with pytest.raises(ClientError, match="AccessDenied"):
                call()
        client.copy_object(**key("data/tmp/copy"), CopySource={"Bucket": bucket, "Key": f"{folder}/data/x"})
        lease = server.call("GET", f"/api/v1/leases/{vended['lease_id']}", writer.token).json()
        assert lease["bucket"] == bucket and lease["parts"] == vended["parts"]
        # It was used, also where it was refused.
        used = lease["used"]
        assert used["requests"] >= len(refused) + 1 and used["from"] == "127.0.0.1"
        assert lease["opened"] <= used["first"] <= used["last"] and used["bytes_out"] > 0
        unused = vend(server, writer.token, bucket=bucket, prefix="flights/staging", access="read").json()
        assert "used" not in server.call("GET", f"/api/v1/leases/{unused['lease_id']}", writer.token).json()

    @pytest.mark.parametrize(
        "parts, field",
        [
            ([], "parts"),
            ([{"access": "read"}], "parts[0].prefix"),
            ([{"prefix": "flights/staging"}, {"prefix": "flights/", "access": "read"}], "parts[1].prefix"),
            ([{"prefix": "flights/staging", "actions": ["read"]}], "parts[0].actions"),
            ([{"prefix": "flights/staging", "ttl_secs": 60}], "parts[0].ttl_secs"),
        ],
    )
    def test_refuses_parts_that_say_too_little(self, server, writer, parts, field):
        answer = vend(server, writer.token, bucket=writer.bucket, parts=parts)
        check_problem(answer, 400, 422)
        assert answer.json().get("field") == field
        both = vend(server, writer.token, bucket=writer.bucket, parts=[{"prefix": "flights/staging"}], access="read")
        check_problem(both, 422)
        assert both.json()["field"] == "parts"

    @pytest.mark.parametrize("field", ["prefix", "prefixes", "objects", "whole_bucket", "access", "parts", "ttl_secs"])
    def test_takes_no_null(self, server, reader, field):
        """A variable that was never set must not widen a key to the whole grant."""
        check_problem(vend(server, reader.token, grant="flights-daily", **{field: None}), 400, 422)

    def test_repeats_no_secret(self, server, reader, reading):
        """Put where an id belongs, by mistake: neither the answer nor, as `leaks` sees to, the log shows it."""
        for secret in (reader.token, reading.secret_access_key, reading.session_token):
            answers = [
                server.call("GET", f"/api/v1/whose/{secret}", reader.token),
                server.call("GET", f"/api/v1/leases?before={secret}", reader.token),
                server.call("POST", "/api/v1/revocations", reader.token, {"lease": secret}),
                server.call("POST", "/api/v1/revocations", reader.token, {"caller": secret}),
                server.call("POST", "/api/v1/revocations", reader.token, {secret: "x"}),
            ]
            for answer in answers:
                assert 400 <= answer.status < 500
                assert secret.encode() not in answer.body

    def test_dots_are_letters_like_any_other(self, server, reader):
        """A key is opaque: `..` climbs nowhere, neither when a scope is checked nor when an object is looked up."""
        lease = server.vend(reader, prefix="flights/daily/../daily-secret")
        assert lease.keys("flights/daily/../daily-secret/") == set()
        for key in (FLIGHTS, "flights/daily-secret/2013-01-01.parquet"):
            with pytest.raises(ClientError, match="AccessDenied"):
                lease.get(key)

    @pytest.mark.parametrize(
        "prefix",
        ["flights/daily-secret", "flights", "", "flights/dail", "flights/../flights/daily", "flights//daily"],
    )
    def test_widens_to_nothing(self, server, reader, prefix):
        check_problem(
            vend(server, reader.token, bucket=reader.bucket, prefix=prefix, access="read", ttl_secs=900),
            400,
            403,
            404,
            422,
        )

    def test_lends_no_other_account(self, server, reader, stranger):
        for bucket, prefix in [(stranger.bucket, stranger.prefix), ("no-such-bucket", "x")]:
            check_problem(
                vend(server, reader.token, bucket=bucket, prefix=prefix, access="read", ttl_secs=900), 403, 404
            )

    def test_lends_no_writing_to_readers(self, server, reader):
        body = {"bucket": reader.bucket, "prefix": reader.prefix, "access": "read-write", "ttl_secs": 900}
        check_problem(vend(server, reader.token, **body), 403)

    @pytest.mark.parametrize(
        "change", [{"ttl_secs": 0}, {"ttl_secs": -1}, {"ttl_secs": "1h"}, {"access": "admin"}, {"bucket": 7}]
    )
    def test_refuses_nonsense(self, server, reader, change):
        body = {"bucket": reader.bucket, "prefix": reader.prefix, "access": "read", "ttl_secs": 900} | change
        check_problem(vend(server, reader.token, **body), 400, 422)

    def test_wants_a_token(self, server, reader):
        for token in (None, "wrong"):
            answer = vend(server, token, bucket=reader.bucket, prefix=reader.prefix, access="read", ttl_secs=900)
            check_problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_is_not_to_be_kept_by_caches(self, server, reader):
        answer = vend(server, reader.token, bucket=reader.bucket, prefix=reader.prefix, access="read", ttl_secs=900)
        assert "no-store" in answer.headers["cache-control"]


class TestRevoking:
    def test_ends_one_lease(self, server, reader):
        revoked, other = server.vend(reader), server.vend(reader)
        revoked.revoke()
        with pytest.raises(ClientError, match="ExpiredToken"):
            revoked.get(FLIGHTS)
        assert other.keys(reader.prefix) == demo_keys(reader.bucket, reader.prefix)

    def test_is_refused_to_strangers(self, server, reader, stranger):
        lease = server.vend(reader)
        for token in (None, "wrong", stranger.token):
            check_problem(server.call("DELETE", f"/api/v1/leases/{lease.id}", token), 401, 403, 404)
        assert lease.get(FLIGHTS) == demo_bytes(reader.bucket, FLIGHTS)

    def test_of_an_unknown_lease(self, server):
        check_problem(server.call("DELETE", "/api/v1/leases/no-such-lease", server.admin_token), 400, 404)
