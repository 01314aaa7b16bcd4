"""What no well-behaved client sends: the S3 endpoint must refuse it, and say so with S3's own codes."""

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import os
import re
import time
import zlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from harness import FLIGHTS, demo_bytes, demo_keys
from wire import STREAMING, STREAMING_TRAILER, UNSIGNED, Call, http_chunked, presigned_until, send, uri

DENIED = (403, "AccessDenied")
UNMATCHED = (403, "SignatureDoesNotMatch")
UNKNOWN_KEY = (403, "InvalidAccessKeyId")
SKEWED = (403, "RequestTimeTooSkewed")
EXPIRED = (400, "ExpiredToken")
BAD_TOKEN = (400, "InvalidToken")
BAD_DIGEST = (400, "BadDigest")
BAD_XML = (400, "MalformedXML")
SECRET = "flights/daily-secret/2013-01-01.parquet"


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def listing(lease, **query) -> Call:
    return Call(lease, query={"list-type": "2", **query})


def put(lease, key, body=b"content", **extra) -> Call:
    return Call(lease, "PUT", key, body=body, extra=extra)


class TestSignature:
    def test_reads_when_signed(self, reading):
        reply = Call(reading, key=FLIGHTS).send()
        assert (reply.status, reply.body) == (200, demo_bytes(reading.bucket, FLIGHTS))

    @pytest.mark.parametrize("region", ["auto", "us-east-1", "eu-west-3", "any-thing-9"])
    def test_takes_any_region(self, reading, region):
        assert Call(reading, key=FLIGHTS, region=region).send().status == 200

    def test_refuses_a_tampered_signature(self, reading):
        call = Call(reading, key=FLIGHTS).sign()
        flipped = "0" if call.signature[-1] != "0" else "1"
        assert call.set("authorization", call.header("authorization")[:-1] + flipped).send().outcome == UNMATCHED

    def test_refuses_a_wrong_secret(self, reading):
        assert Call(reading, key=FLIGHTS, secret="x" * 40).send().outcome == UNMATCHED

    def test_refuses_an_unknown_key(self, reading):
        stranger = dataclasses.replace(reading, access_key_id="VK0000000000000000")
        assert Call(stranger, key=FLIGHTS).send().outcome in (UNKNOWN_KEY, BAD_TOKEN)

    def test_refuses_a_changed_path(self, reading):
        call = Call(reading, key=FLIGHTS).sign()
        call.path = call.path.replace("01.parquet", "02.parquet")
        assert call.send().outcome == UNMATCHED

    def test_refuses_a_changed_method(self, writing, folder):
        call = put(writing, f"{folder}/x").sign()
        call.method = "DELETE"
        assert call.send().outcome == UNMATCHED

    def test_refuses_a_changed_query(self, reading):
        call = listing(reading, prefix=f"{reading.prefix}/", **{"max-keys": "1"}).sign()
        call.query_string = call.query_string.replace("max-keys=1", "max-keys=9")
        assert call.send().outcome == UNMATCHED

    def test_refuses_an_added_query(self, reading):
        call = listing(reading, prefix=f"{reading.prefix}/").sign()
        call.query_string += "&start-after=a"
        assert call.send().outcome == UNMATCHED

    def test_refuses_a_changed_header(self, reading):
        call = Call(reading, key=FLIGHTS, extra={"range": "bytes=0-3"}).sign()
        assert call.set("range", "bytes=0-9").send().outcome == UNMATCHED

    def test_refuses_an_unsigned_amz_header(self, writing, folder):
        """S3 wants every x-amz header signed; else a copy could be made of an upload on its way."""
        call = put(writing, f"{folder}/x").sign()
        call.headers.append(("x-amz-copy-source", f"/{writing.bucket}/{SECRET}"))
        assert call.send().outcome in (DENIED, UNMATCHED)

    @pytest.mark.parametrize("minutes", [-16, 16])
    def test_refuses_a_skewed_clock(self, reading, minutes):
        when = datetime.now(UTC) + timedelta(minutes=minutes)
        assert Call(reading, key=FLIGHTS, when=when).send().outcome == SKEWED

    @pytest.mark.parametrize("minutes", [-14, 14])
    def test_bears_some_skew(self, reading, minutes):
        assert Call(reading, key=FLIGHTS, when=datetime.now(UTC) + timedelta(minutes=minutes)).send().status == 200

    def test_refuses_the_anonymous(self, server):
        target, host = f"/flights-lake/{FLIGHTS}", urlsplit(server.s3).netloc
        assert send(server.s3, "GET", target, [("host", host)]).outcome == DENIED

    def test_refuses_signature_version_2(self, reading):
        date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        target = f"/{reading.bucket}/{FLIGHTS}"
        text = f"GET\n\n\n{date}\nx-amz-security-token:{reading.session_token}\n{target}"
        signature = base64.b64encode(hmac.digest(reading.secret_access_key.encode(), text.encode(), "sha1")).decode()
        headers = [
            ("host", urlsplit(reading.endpoint).netloc),
            ("date", date),
            ("x-amz-security-token", reading.session_token),
            ("authorization", f"AWS {reading.access_key_id}:{signature}"),
        ]
        assert send(reading.endpoint, "GET", target, headers).outcome == (400, "InvalidRequest")

    @pytest.mark.parametrize("service", ["sts", "iam", ""])
    def test_refuses_a_signature_for_another_service(self, reading, service):
        assert Call(reading, key=FLIGHTS, service=service).send().status in (400, 403, 501)

    def test_refuses_an_unsigned_host(self, reading):
        assert Call(reading, key=FLIGHTS, unsigned=("host",)).send().status in (400, 403)

    @pytest.mark.parametrize("version", ["s3v4", "s3"])
    def test_refuses_a_form(self, writing, folder, version):
        """Browsers upload with a signed policy document in place of a signed request. This endpoint takes none."""
        s3 = writing.boto3(signature_version=version)
        form = s3.generate_presigned_post(writing.bucket, f"{folder}/form")["fields"] | {"file": "content"}
        assert form["key"] == f"{folder}/form"
        body = "".join(f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in form.items())
        headers = [
            ("host", urlsplit(writing.endpoint).netloc),
            ("content-type", "multipart/form-data; boundary=b"),
            ("content-length", str(len(body) + 7)),
        ]
        reply = send(writing.endpoint, "POST", f"/{writing.bucket}", headers, f"{body}--b--\r\n".encode())
        assert reply.status in (400, 403, 405, 501)
        assert writing.keys(f"{folder}/") == set()


class TestSessionToken:
    def test_refuses_a_foreign_token(self, vend, reader, writing):
        """Two keys, each good: the token of one does not lend its scope to the other."""
        mine = vend(reader)
        assert Call(mine, key=FLIGHTS, token=writing.session_token).send().outcome == BAD_TOKEN
        assert Call(writing, key=FLIGHTS, token=mine.session_token).send().outcome == BAD_TOKEN

    def test_refuses_a_token_swapped_on_the_way(self, vend, reader, reading):
        call = Call(reading, key=FLIGHTS).sign().set("x-amz-security-token", vend(reader).session_token)
        assert call.send().outcome in (BAD_TOKEN, UNMATCHED)

    def test_refuses_a_dropped_token(self, reading):
        assert Call(reading, key=FLIGHTS, token=None).send().outcome == UNKNOWN_KEY

    def test_refuses_a_token_dropped_on_the_way(self, reading):
        call = Call(reading, key=FLIGHTS).sign()
        call.headers = [header for header in call.headers if header[0] != "x-amz-security-token"]
        assert call.send().status == 403

    def test_refuses_an_unsigned_token(self, reading):
        assert Call(reading, key=FLIGHTS, unsigned=("x-amz-security-token",)).send().outcome in (DENIED, UNMATCHED)

    @pytest.mark.parametrize("token", ["x", "A" * 400, "é", "a.b.c"])
    def test_refuses_a_malformed_token(self, reading, token):
        token = token.encode().decode("latin-1")
        assert Call(reading, key=FLIGHTS, token=token).send().status in (400, 403)

    def test_refuses_a_changed_token(self, reading):
        for at in (0, len(reading.session_token) // 2, -1):
            token = list(reading.session_token)
            token[at] = "A" if token[at] != "A" else "B"
            assert Call(reading, key=FLIGHTS, token="".join(token)).send().outcome == BAD_TOKEN

    def test_tells_that_a_key_expired(self, expired):
        reply = Call(expired, key=FLIGHTS).send()
        assert reply.outcome == EXPIRED
        assert reply.headers["content-type"] == "application/xml"
        assert b"<RequestId>" in reply.body

    def test_tells_that_a_key_was_revoked(self, vend, reader):
        lease = vend(reader)
        assert Call(lease, key=FLIGHTS).send().status == 200
        lease.revoke()
        assert Call(lease, key=FLIGHTS).send().outcome == EXPIRED
        assert listing(lease, prefix=f"{lease.prefix}/").send().outcome == EXPIRED

    def test_revokes_that_key_only(self, vend, reader):
        revoked, other = vend(reader), vend(reader)
        revoked.revoke()
        assert Call(other, key=FLIGHTS).send().status == 200

    def test_sends_no_body_to_head(self, reading, expired):
        for lease, key, status in [
            (reading, SECRET, 403),
            (reading, f"{reading.prefix}/no", 404),
            (expired, FLIGHTS, 400),
        ]:
            reply = Call(lease, "HEAD", key).send()
            assert (reply.status, reply.body) == (status, b"")


class TestDuplicatedHeaders:
    @pytest.mark.parametrize(
        "name", ["authorization", "x-amz-security-token", "x-amz-date", "x-amz-content-sha256", "host"]
    )
    def test_refuses_two(self, reading, name):
        call = Call(reading, key=FLIGHTS).sign()
        call.headers.append((name, call.header(name)))
        assert call.send().status in (400, 403)

    def test_refuses_two_lengths(self, writing, folder):
        call = put(writing, f"{folder}/x").sign()
        call.headers.append(("content-length", "3"))
        # Two lengths are an attack on the connection itself: it may end without an answer.
        with contextlib.suppress(ConnectionError):
            assert call.send().status == 400
        assert writing.keys(f"{folder}/") == set()

    def test_refuses_two_queries(self, reading):
        call = listing(reading, prefix=f"{reading.prefix}/").sign()
        call.query_string += "&prefix=" + uri("flights/daily-secret/")
        assert call.send().status in (400, 403)


class TestPresigned:
    @staticmethod
    def url(lease, key=FLIGHTS, seconds=600):
        return lease.boto3(signature_version="s3v4").generate_presigned_url(
            "get_object", Params={"Bucket": lease.bucket, "Key": key}, ExpiresIn=seconds
        )

    @staticmethod
    def fetch(url):
        parts = urlsplit(url)
        return send(f"http://{parts.netloc}", "GET", f"{parts.path}?{parts.query}", [("host", parts.netloc)])

    def test_reads(self, reading):
        reply = self.fetch(self.url(reading))
        assert (reply.status, reply.body) == (200, demo_bytes(reading.bucket, FLIGHTS))

    def test_is_bound_to_its_key(self, reading):
        assert self.fetch(self.url(reading).replace("01.parquet", "02.parquet")).outcome == UNMATCHED

    def test_is_bound_to_its_method(self, writing, folder):
        put(writing, f"{folder}/x").send()
        parts = urlsplit(self.url(writing, f"{folder}/x"))
        target = f"{parts.path}?{parts.query}"
        assert send(writing.endpoint, "DELETE", target, [("host", parts.netloc)]).outcome == UNMATCHED

    def test_is_bound_to_its_token(self, reading, vend, reader):
        other = uri(vend(reader).session_token)
        changed = self.url(reading).replace(uri(reading.session_token), other)
        assert other in changed
        assert self.fetch(changed).outcome in (BAD_TOKEN, UNMATCHED)

    def test_is_bound_to_its_lifetime(self, reading):
        assert self.fetch(self.url(reading).replace("X-Amz-Expires=600", "X-Amz-Expires=601")).outcome == UNMATCHED

    def test_opens_nothing_outside(self, reading):
        assert self.fetch(self.url(reading, SECRET)).outcome == DENIED

    def test_ends_by_itself(self, reading):
        url = self.url(reading, seconds=1)
        while (left := (presigned_until(url) - datetime.now(UTC)).total_seconds()) >= 0:
            time.sleep(left + 0.001)
        assert self.fetch(url).outcome == DENIED

    def test_ends_with_its_key(self, vend, reader):
        lease = vend(reader)
        url = self.url(lease)
        assert self.fetch(url).status == 200
        lease.revoke()
        assert self.fetch(url).outcome == EXPIRED

    def test_takes_no_more_headers(self, writing, folder):
        """Who was given a link to upload with may not turn it into a copy."""
        put(writing, f"{folder}/private").send()
        at = {"Bucket": writing.bucket, "Key": f"{folder}/x"}
        url = writing.boto3(signature_version="s3v4").generate_presigned_url("put_object", Params=at)
        parts = urlsplit(url)
        headers = [
            ("host", parts.netloc),
            ("content-length", "0"),
            ("x-amz-copy-source", f"/{writing.bucket}/{folder}/private"),
        ]
        assert send(writing.endpoint, "PUT", f"{parts.path}?{parts.query}", headers).outcome in (DENIED, UNMATCHED)
        assert writing.keys(f"{folder}/") == {f"{folder}/private"}

    def test_takes_no_second_signature(self, reading):
        parts = urlsplit(self.url(reading))
        headers = Call(reading, key=FLIGHTS).sign().headers
        assert send(reading.endpoint, "GET", f"{parts.path}?{parts.query}", headers).status in (400, 403)

    def test_takes_no_signature_version_2(self, reading):
        url = reading.boto3(signature_version="s3").generate_presigned_url(
            "get_object", Params={"Bucket": reading.bucket, "Key": FLIGHTS}
        )
        assert "AWSAccessKeyId=" in url
        assert self.fetch(url).status in (400, 403)

    def test_lives_a_week_at_most(self, reading):
        assert self.fetch(self.url(reading, seconds=604801)).status in (400, 403)


class TestPayload:
    def test_checks_the_hash(self, writing, folder):
        call = Call(writing, "PUT", f"{folder}/x", body=b"content", payload=hashlib.sha256(b"other").hexdigest())
        assert call.send().outcome == (400, "XAmzContentSHA256Mismatch")
        assert writing.keys(f"{folder}/") == set()

    def test_takes_an_unsigned_payload(self, writing, folder):
        call = Call(writing, "PUT", f"{folder}/x", body=b"content", payload=UNSIGNED)
        assert call.send().status == 200
        assert writing.get(f"{folder}/x") == b"content"

    def test_checks_content_md5(self, writing, folder):
        assert put(writing, f"{folder}/x", **{"content-md5": md5(b"other")}).send().outcome == BAD_DIGEST
        assert put(writing, f"{folder}/x", **{"content-md5": "not base64"}).send().outcome == (400, "InvalidDigest")
        assert writing.keys(f"{folder}/") == set()
        assert put(writing, f"{folder}/x", **{"content-md5": md5(b"content")}).send().status == 200

    def test_checks_a_checksum_header(self, writing, folder):
        assert put(writing, f"{folder}/x", **{"x-amz-checksum-crc32": crc32(b"other")}).send().outcome == BAD_DIGEST
        assert writing.keys(f"{folder}/") == set()
        assert put(writing, f"{folder}/x", **{"x-amz-checksum-crc32": crc32(b"content")}).send().status == 200

    @staticmethod
    def streaming(lease, key, data):
        extra = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(data))}
        call = Call(lease, "PUT", key, payload=STREAMING, extra=extra).sign()
        return call, call.chunks(data)

    def upload(self, call, chunks):
        call.body = b"".join(chunks)
        return call.set("content-length", str(len(call.body))).send()

    def test_takes_signed_chunks(self, writing, folder):
        data = os.urandom(150_000)
        call, chunks = self.streaming(writing, f"{folder}/x", data)
        assert len(chunks) == 4
        assert self.upload(call, chunks).status == 200
        assert writing.get(f"{folder}/x") == data

    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_refuses_a_tampered_chunk(self, writing, folder, at):
        call, chunks = self.streaming(writing, f"{folder}/x", os.urandom(150_000))
        chunks[at] = chunks[at][:-3] + bytes([chunks[at][-3] ^ 1]) + chunks[at][-2:]
        assert self.upload(call, chunks).outcome == UNMATCHED
        assert writing.keys(f"{folder}/") == set()

    def test_refuses_swapped_chunks(self, writing, folder):
        call, chunks = self.streaming(writing, f"{folder}/x", os.urandom(131_072))
        assert self.upload(call, [chunks[1], chunks[0], chunks[2]]).outcome == UNMATCHED
        assert writing.keys(f"{folder}/") == set()

    def test_refuses_a_cut_stream(self, writing, folder):
        call, chunks = self.streaming(writing, f"{folder}/x", os.urandom(150_000))
        assert self.upload(call, chunks[:-1]).status in (400, 403)
        assert writing.keys(f"{folder}/") == set()

    def test_refuses_a_plain_body_for_a_stream(self, writing, folder):
        call, _ = self.streaming(writing, f"{folder}/x", b"content")
        assert self.upload(call, [b"content"]).status in (400, 403)
        assert writing.keys(f"{folder}/") == set()

    @staticmethod
    def trailing(lease, key, data, checksum):
        """What the newest SDKs send over TLS: no length, one chunk, the checksum behind it."""
        framed = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(data), data, checksum.encode())
        extra = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(data)),
            "x-amz-trailer": "x-amz-checksum-crc32",
        }
        call = Call(lease, "PUT", key, payload=STREAMING_TRAILER, extra=extra).sign()
        call.headers = [header for header in call.headers if header[0] != "content-length"]
        call.headers.append(("transfer-encoding", "chunked"))
        call.body = http_chunked(framed)
        return call.send()

    def test_takes_a_trailing_checksum(self, writing, folder):
        data = os.urandom(100_000)
        assert self.trailing(writing, f"{folder}/x", data, crc32(data)).status == 200
        assert writing.get(f"{folder}/x") == data

    def test_checks_a_trailing_checksum(self, writing, folder):
        assert self.trailing(writing, f"{folder}/x", b"content", crc32(b"other")).outcome == BAD_DIGEST
        assert writing.keys(f"{folder}/") == set()


class TestXml:
    BAD = [
        b"<",
        b"<Delete><Object>",
        b"{}",
        b"<Other/>",
        b"\xff\xfe",
        b'<!DOCTYPE d [<!ENTITY e "x">]><Delete>&e;</Delete>',
    ]

    @pytest.mark.parametrize("body", BAD)
    def test_delete_objects(self, writing, body):
        call = Call(writing, "POST", query={"delete": ""}, body=body, extra={"content-md5": md5(body)})
        assert call.send().outcome == BAD_XML

    @pytest.mark.parametrize("body", BAD)
    def test_complete_multipart_upload(self, writing, folder, body):
        at = {"Bucket": writing.bucket, "Key": f"{folder}/x"}
        upload = writing.boto3().create_multipart_upload(**at)["UploadId"]
        assert Call(writing, "POST", f"{folder}/x", query={"uploadId": upload}, body=body).send().outcome == BAD_XML
        assert writing.keys(f"{folder}/") == set()

    def test_refuses_an_upload_of_another_key(self, writing, folder):
        at = {"Bucket": writing.bucket, "Key": f"{folder}/x"}
        upload = writing.boto3().create_multipart_upload(**at)["UploadId"]
        query = {"uploadId": upload, "partNumber": "1"}
        assert Call(writing, "PUT", f"{folder}/y", query=query, body=b"x").send().outcome == (404, "NoSuchUpload")

    def test_refuses_an_invented_upload(self, writing, folder):
        for upload in ("x", "../../x", "0" * 32):
            query = {"uploadId": upload, "partNumber": "1"}
            assert Call(writing, "PUT", f"{folder}/y", query=query, body=b"x").send().outcome == (404, "NoSuchUpload")


class TestKeys:
    """A key is text, compared as such: no spelling of a path leads elsewhere."""

    OUTSIDE = [
        "flights/daily/../daily-secret/2013-01-01.parquet",
        "flights/daily/./../daily-secret/2013-01-01.parquet",
        "flights/daily//../daily-secret/2013-01-01.parquet",
        "flights/daily/..\\daily-secret\\2013-01-01.parquet",
        "flights//daily-secret/2013-01-01.parquet",
        "flights/daily%2F..%2Fdaily-secret/2013-01-01.parquet",
        "/flights/daily/2013-01-01.parquet",
        "flights/daily-secret/2013-01-01.parquet",
        "flights/daily-secret/2013-01-01.parquet/",
        "flights/Daily/2013-01-01.parquet",
        "flights/daily",
        "flights/daily/",
        "flights/daily/2013-01-01.parquet\0",
        "flights/daily/\n",
    ]

    @pytest.mark.parametrize("key", OUTSIDE)
    def test_reads_nothing_by_a_spelling(self, reading, key):
        assert Call(reading, key=key).send().status in (400, 403, 404)

    @pytest.mark.parametrize(
        "path",
        [
            "/flights-lake/flights/daily/../daily-secret/2013-01-01.parquet",
            "/flights-lake/flights/daily/%2e%2e/daily-secret/2013-01-01.parquet",
            "/flights-lake/flights%2Fdaily-secret%2F2013-01-01.parquet",
            "/flights-lake/flights/daily%2F..%2Fdaily-secret/2013-01-01.parquet",
            "/flights-lake/flights/daily%252F..%252Fdaily-secret/2013-01-01.parquet",
            "/x/../flights-lake/flights/daily-secret/2013-01-01.parquet",
            "//flights-lake/flights/daily-secret/2013-01-01.parquet",
            "/flights-lake%2Fflights/daily-secret/2013-01-01.parquet",
            "/flights-lake/flights/daily-secret/2013-01-01.parquet#/flights/daily/",
            "/flights-lake/flights/daily-secret/2013-01-01.parquet;/flights/daily/",
            "/flights-lake/flights/daily/%ff",
            "/flights-lake/flights/daily/%zz",
            "/flights-lake/flights/daily/%",
        ],
    )
    def test_reads_nothing_by_a_raw_path(self, reading, path):
        """The path goes out as written here, signed as it is and as it looks when decoded and encoded again."""
        for signed in (path, uri(path, "/")):
            call = Call(reading, path=signed).sign()
            call.path = path
            assert call.send().status in (400, 403, 404)

    def test_keeps_double_slashes_apart(self, writing, folder):
        reply = put(writing, f"{folder}//x", b"two").send()
        assert reply.status in (200, 400)
        assert Call(writing, key=f"{folder}/x").send().outcome == (404, "NoSuchKey")
        if reply.status == 200:
            assert writing.keys(f"{folder}/") == {f"{folder}//x"}

    @pytest.mark.parametrize(
        "key", ["../daily/evil", "./../../daily/evil", "..", "../../../evil", "a/../../../daily/evil"]
    )
    def test_writes_nothing_elsewhere(self, writing, reading, folder, key):
        assert put(writing, f"{folder}/{key}").send().status in (200, 400, 403)
        assert reading.keys(f"{reading.prefix}/") == demo_keys(reading.bucket, reading.prefix)
        assert Call(writing, key=f"{folder}/evil").send().status == 404

    @pytest.mark.parametrize(
        "name",
        [
            "é日本🛫",
            "a b",
            "a+b",
            "a%2Fb",
            "a%b",
            "a&b=c?d#e",
            "~-_.!*'()",
            'a"<>b',
            "CON",
            ".hidden",
            "a\\b",
            "x" * 250,
            "é",
            "e\u0301",
        ],
    )
    def test_keeps_any_name(self, writing, folder, name):
        key = f"{folder}/{name}"
        assert put(writing, key, name.encode()).send().status == 200
        assert writing.get(key) == name.encode()
        assert writing.keys(f"{folder}/") == {key}

    def test_keeps_spellings_apart(self, writing, folder):
        for name in ("é", "e\u0301", "a", "A"):
            assert put(writing, f"{folder}/{name}", name.encode()).send().status == 200
        for name in ("é", "e\u0301", "a", "A"):
            assert writing.get(f"{folder}/{name}") == name.encode()

    def test_refuses_long_keys(self, writing, folder):
        long = f"{folder}/" + "a/" * 511
        assert put(writing, f"{long:x<1025}"[:1025]).send().outcome == (400, "KeyTooLongError")

    def test_refuses_a_stolen_copy(self, writing, folder):
        for source in (
            f"/{writing.bucket}/{SECRET}",
            uri(f"{writing.bucket}/{SECRET}"),
            f"{writing.bucket}/{folder}/../../../{SECRET}",
        ):
            call = Call(writing, "PUT", f"{folder}/stolen", extra={"x-amz-copy-source": source})
            assert call.send().status in (400, 403, 404)
        at = {"Bucket": writing.bucket, "Key": f"{folder}/stolen"}
        upload = writing.boto3().create_multipart_upload(**at)["UploadId"]
        query = {"uploadId": upload, "partNumber": "1"}
        extra = {"x-amz-copy-source": f"/{writing.bucket}/{SECRET}"}
        assert Call(writing, "PUT", f"{folder}/stolen", query=query, extra=extra).send().outcome == DENIED
        assert writing.keys(f"{folder}/") == set()


class TestReads:
    def test_suffix_range(self, reading):
        whole = demo_bytes(reading.bucket, FLIGHTS)
        reply = Call(reading, key=FLIGHTS, extra={"range": "bytes=-100"}).send()
        assert (reply.status, reply.body) == (206, whole[-100:])
        assert reply.headers["content-range"] == f"bytes {len(whole) - 100}-{len(whole) - 1}/{len(whole)}"

    def test_suffix_range_longer_than_the_object(self, reading):
        reply = Call(reading, key=FLIGHTS, extra={"range": "bytes=-999999999"}).send()
        assert (reply.status, reply.body) == (206, demo_bytes(reading.bucket, FLIGHTS))

    def test_open_range(self, reading):
        reply = Call(reading, key=FLIGHTS, extra={"range": "bytes=1000-"}).send()
        assert (reply.status, reply.body) == (206, demo_bytes(reading.bucket, FLIGHTS)[1000:])

    @pytest.mark.parametrize("range", ["bytes=999999999-", "bytes=-0"])
    def test_unsatisfiable_range(self, reading, range):
        assert Call(reading, key=FLIGHTS, extra={"range": range}).send().outcome == (416, "InvalidRange")

    def test_missing(self, reading):
        assert Call(reading, key=f"{reading.prefix}/no").send().outcome == (404, "NoSuchKey")

    def test_missing_outside_looks_like_present_outside(self, reading):
        absent, present = (Call(reading, key=key).send() for key in ("flights/daily-secret/no", SECRET))
        assert absent.outcome == present.outcome == DENIED

    def test_missing_bucket_looks_like_a_foreign_bucket(self, reading):
        for bucket in ("airlines-lake", "no-such-bucket"):
            assert Call(reading, bucket=bucket, key=FLIGHTS).send().outcome == DENIED
            assert (
                Call(reading, bucket=bucket, query={"list-type": "2", "prefix": reading.prefix}).send().outcome
                == DENIED
            )

    def test_if_none_match(self, reading):
        etag = Call(reading, "HEAD", FLIGHTS).send().headers["etag"]
        assert Call(reading, key=FLIGHTS, extra={"if-none-match": etag}).send().status == 304
        assert Call(reading, key=FLIGHTS, extra={"if-match": '"other"'}).send().outcome == (412, "PreconditionFailed")

    def test_tells_of_tags_and_rights(self, reading):
        assert b"<TagSet" in Call(reading, key=FLIGHTS, query={"tagging": ""}).send().body
        assert b"FULL_CONTROL" in Call(reading, key=FLIGHTS, query={"acl": ""}).send().body
        for name in ("tagging", "acl"):
            assert Call(reading, key=SECRET, query={name: ""}).send().outcome == DENIED

    @pytest.mark.parametrize("name", ["torrent", "retention", "legal-hold"])
    def test_unknown_subresource(self, reading, name):
        """Answering ?torrent with the object itself would be worse than any error."""
        assert Call(reading, key=FLIGHTS, query={name: ""}).send().outcome == (501, "NotImplemented")

    @pytest.mark.parametrize(
        "name", ["policy", "lifecycle", "cors", "website", "uploads", "versions"]
    )
    def test_bucket_subresource(self, reading, name):
        assert Call(reading, query={name: ""}).send().outcome in ((501, "NotImplemented"), DENIED)

    def test_says_where_the_bucket_is(self, reading):
        reply = Call(reading, query={"location": ""}).send()
        assert reply.status == 200
        assert b"LocationConstraint" in reply.body

    def test_lists_its_own_bucket_alone(self, reading, stranger, vend):
        for lease in (reading, vend(stranger)):
            call = Call(lease, bucket="")
            call.sign()
            assert call.path == "/"
            answer = call.send()
            assert answer.status == 200 and re.findall(rb"<Name>(.*?)</Name>", answer.body) == [lease.bucket.encode()]


class TestListing:
    @pytest.mark.parametrize("version", ["1", "2"])
    @pytest.mark.parametrize("prefix", ["flights/daily", "flights/daily/", "flights/daily/2013"])
    def test_lists_inside(self, reading, version, prefix):
        query = {"prefix": prefix} | ({"list-type": "2"} if version == "2" else {})
        assert set(Call(reading, query=query).send().keys()) == demo_keys(reading.bucket, reading.prefix)

    @pytest.mark.parametrize("version", ["1", "2"])
    @pytest.mark.parametrize(
        "prefix",
        [
            "flights/daily-",
            "flights/daily-secret/",
            "flights/dail",
            "flights/",
            "",
            "airlines",
            "flights/daily/../daily-secret/",
        ],
    )
    def test_lists_nothing_outside(self, reading, version, prefix):
        query = {"prefix": prefix} | ({"list-type": "2"} if version == "2" else {})
        reply = Call(reading, query=query).send()
        if ".." in prefix:
            assert reply.keys() == []
        else:
            assert reply.outcome == DENIED

    @pytest.mark.parametrize("version", ["1", "2"])
    def test_folds_inside(self, reading, version):
        query = {"prefix": "flights/daily", "delimiter": "/"} | ({"list-type": "2"} if version == "2" else {})
        body = Call(reading, query=query).send().body
        assert body.count(b"<CommonPrefixes>") == 1
        assert b"<CommonPrefixes><Prefix>flights/daily/</Prefix></CommonPrefixes>" in body

    @pytest.mark.parametrize("delimiter", ["-", "y", "daily", "s"])
    def test_folds_nothing_outside(self, reading, delimiter):
        assert b"secret" not in listing(reading, prefix="flights/daily", delimiter=delimiter).send().body

    def test_takes_an_empty_delimiter(self, reading):
        reply = listing(reading, prefix="flights/daily/", delimiter="").send()
        assert set(reply.keys()) == demo_keys(reading.bucket, reading.prefix)

    def test_takes_a_slash_behind_the_bucket(self, reading):
        call = listing(reading, prefix="flights/daily/")
        call.bucket = f"{reading.bucket}/"
        assert set(call.send().keys()) == demo_keys(reading.bucket, reading.prefix)

    @pytest.mark.parametrize("prefix", ["flights/daily", "flights/daily/"])
    def test_pages(self, reading, prefix):
        seen, more = [], {}
        while more is not None:
            reply = listing(reading, prefix=prefix, **{"max-keys": "2"}, **more).send()
            assert reply.status == 200
            assert len(reply.keys()) <= 2
            seen += reply.keys()
            token = reply.body.partition(b"<NextContinuationToken>")[2].partition(b"<")[0].decode()
            more = {"continuation-token": token} if token else None
        assert seen == sorted(demo_keys(reading.bucket, reading.prefix))

    def test_pages_version_1(self, reading):
        seen, marker = [], ""
        while True:
            reply = Call(reading, query={"prefix": "flights/daily", "max-keys": "2", "marker": marker}).send()
            seen += reply.keys()
            if b"<IsTruncated>true" not in reply.body:
                break
            marker = seen[-1]
        assert seen == sorted(demo_keys(reading.bucket, reading.prefix))

    @pytest.mark.parametrize("token", ["x", "../..", "flights/daily-secret/", "AAAA"])
    def test_refuses_an_invented_page(self, reading, token):
        reply = listing(reading, prefix="flights/daily/", **{"continuation-token": token}).send()
        assert reply.outcome == (400, "InvalidArgument")

    @pytest.mark.parametrize("name", ["start-after", "marker"])
    def test_starts_nowhere_outside(self, reading, name):
        reply = Call(reading, query={"prefix": "flights/daily", name: "flights/daily-a"}).send()
        assert set(reply.keys()) <= demo_keys(reading.bucket, reading.prefix)

    def test_encodes_keys_on_demand(self, writing, folder):
        put(writing, f"{folder}/é &+").send()
        query = {"prefix": f"{folder}/", "list-type": "2", "encoding-type": "url"}
        assert Call(writing, query=query).send().keys() == [uri(f"{folder}/é &+", "/")]


class TestConditions:
    def test_creates_once(self, writing, folder):
        once = {"if-none-match": "*"}
        assert put(writing, f"{folder}/x", b"first", **once).send().status == 200
        assert put(writing, f"{folder}/x", b"second", **once).send().outcome == (412, "PreconditionFailed")
        assert writing.get(f"{folder}/x") == b"first"

    def test_replaces_what_it_knows(self, writing, folder):
        etag = put(writing, f"{folder}/x", b"first").send().headers["etag"]
        assert put(writing, f"{folder}/x", b"second", **{"if-match": etag}).send().status == 200
        assert put(writing, f"{folder}/x", b"third", **{"if-match": etag}).send().outcome == (412, "PreconditionFailed")
        assert writing.get(f"{folder}/x") == b"second"
