"""Bodies whose last byte is held back: whatever is done counts at the time it is done, not at the time it was begun."""

import base64
import contextlib
import hashlib
import http.client
import os
import re
import select
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import wire
from h2client import Connection
from harness import MIB
from wire import Call

AFTER = b"after-the-end"
TABLE = Path(__file__).parents[2] / "crates/s3/src/access/rows.rs"
LIFECYCLE = b"<LifecycleConfiguration><Rule><Status>Enabled</Status></Rule></LifecycleConfiguration>"
CORS = b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>"
TAKES = pytest.mark.parametrize("bucket", ["lake", "pond"])


@dataclass(frozen=True)
class Row:
    """One operation. Those that only read, or need no body, may have been answered before the end; the others not."""

    method: str
    key: str = ""
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b"x" * 100
    extra: dict[str, str] = field(default_factory=dict)
    needs_body: bool = False
    path: str = ""


def rows(bucket: str, at: str, upload: str, part: str, aborted: str) -> dict[str, Row]:
    delete = f"<Delete><Object><Key>{at}bulk</Key></Object></Delete>".encode()
    done = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>"
    md5 = {"content-md5": base64.b64encode(hashlib.md5(delete).digest()).decode()}
    return {
        "GetObject": Row("GET", f"{at}read"),
        "HeadObject": Row("HEAD", f"{at}read"),
        "ListObjects": Row("GET", query={"prefix": at}),
        "ListObjectsV2": Row("GET", query={"list-type": "2", "prefix": at}),
        "ListMultipartUploads": Row("GET", query={"uploads": ""}),
        "ListParts": Row("GET", f"{at}parts", {"uploadId": upload}),
        "GetBucketLocation": Row("GET", query={"location": ""}),
        "HeadBucket": Row("HEAD"),
        "DeleteObject": Row("DELETE", f"{at}gone"),
        "DeleteObjects": Row("POST", query={"delete": ""}, body=delete, extra=md5, needs_body=True),
        "PutObject": Row("PUT", f"{at}put", needs_body=True),
        "CopyObject": Row("PUT", f"{at}copied", extra={"x-amz-copy-source": f"/{bucket}/{at}read"}),
        "CreateMultipartUpload": Row("POST", f"{at}begun", {"uploads": ""}),
        "UploadPart": Row("PUT", f"{at}parts", {"partNumber": "2", "uploadId": upload}, needs_body=True),
        "UploadPartCopy": Row(
            "PUT", f"{at}parts", {"partNumber": "3", "uploadId": upload}, extra={"x-amz-copy-source": f"/{bucket}/{at}read"}
        ),
        "CompleteMultipartUpload": Row("POST", f"{at}parts", {"uploadId": upload}, done.encode(), needs_body=True),
        "AbortMultipartUpload": Row("DELETE", f"{at}aborted", {"uploadId": aborted}),
        "PutBucketCors": Row("PUT", query={"cors": ""}, body=CORS, needs_body=True),
        "GetBucketCors": Row("GET", query={"cors": ""}),
        "DeleteBucketCors": Row("DELETE", query={"cors": ""}),
        "PutBucketLifecycleConfiguration": Row("PUT", query={"lifecycle": ""}, body=LIFECYCLE, needs_body=True),
        "GetBucketLifecycleConfiguration": Row("GET", query={"lifecycle": ""}),
        "GetBucketEncryption": Row("GET", query={"encryption": ""}),
        "GetBucketAcl": Row("GET", query={"acl": ""}),
        "GetBucketVersioning": Row("GET", query={"versioning": ""}),
        "ListObjectVersions": Row("GET", query={"versions": "", "prefix": at}),
        "CreateBucket": Row("PUT"),
        "ListBuckets": Row("GET", path="/"),
        "GetObjectTagging": Row("GET", f"{at}read", {"tagging": ""}),
        "GetObjectAcl": Row("GET", f"{at}read", {"acl": ""}),
        "GetObjectAttributes": Row("GET", f"{at}read", {"attributes": ""}, extra={"x-amz-object-attributes": "ETag"}),
    }


def test_every_operation_there_is_has_a_row():
    """The table that the server decides by, read as it is written."""
    there = re.findall(r'\bRow \{\s*name: "(\w+)"', TABLE.read_text())
    assert len(there) > 30 and sorted(there) == sorted(rows("lake", "", "", "", ""))


def state(s3, bucket: str, prefix: str):
    """Everything there is below a prefix."""
    objects = {
        entry["Key"]: s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    }
    uploads = {}
    for entry in s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", []):
        at = {"Key": entry["Key"], "UploadId": entry["UploadId"]}
        parts = s3.list_parts(Bucket=bucket, **at).get("Parts", [])
        uploads[at["Key"], at["UploadId"]] = [(part["PartNumber"], part["ETag"]) for part in parts]
    return objects, uploads


class Http1:
    """A connection for each request; the body's last byte is held back."""

    def __init__(self, endpoint: str, stack: contextlib.ExitStack):
        self.stack = stack

    def begin(self, call: Call, body: bytes):
        connection = self.stack.enter_context(contextlib.closing(call.begin()))
        with contextlib.suppress(ConnectionError):
            connection.send(body[:-1])
        return connection, body

    def finish(self, held) -> tuple[int | None, bytes, dict[str, str]]:
        """What comes back once the last byte is there; nothing if the connection was closed."""
        connection, body = held
        with contextlib.suppress(ConnectionError):
            connection.send(body[-1:])
        return answer(connection)


class Http2:
    """One connection for all; each body is there, but not said to be at its end."""

    def __init__(self, endpoint: str, stack: contextlib.ExitStack):
        self.connection = stack.enter_context(contextlib.closing(Connection(endpoint)))

    def begin(self, call: Call, body: bytes):
        call.sign()
        stream = self.connection.ask(call.method, call.target, call.headers, ends=False)
        self.connection.h2.send_data(stream, body)
        self.connection.flush()
        return stream

    def finish(self, stream: int) -> tuple[int | None, bytes, dict[str, str]]:
        self.connection.quiet()
        if not self.connection.ended(stream):
            self.connection.h2.end_stream(stream)
            self.connection.flush()
        while not self.connection.ended(stream):
            assert self.connection.hear(30), f"nothing on stream {stream}"
        return self.connection.answer(stream)


def answer(connection: http.client.HTTPConnection) -> tuple[int | None, bytes, dict[str, str]]:
    """What comes back; nothing if the connection was closed."""
    try:
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.headers.items()}
    except (ConnectionError, http.client.HTTPException):
        return None, b"", {}


@TAKES
@pytest.mark.parametrize("end", ["revoked", "expired"])
@pytest.mark.parametrize("road", [Http1, Http2])
def test_no_operation_outlives_its_key(server, bucket, end, road):
    caller = server.caller(bucket)
    keeper, lease = server.vend(caller, ttl=3600).boto3(), server.vend(caller, ttl=60)
    at, prefix = {"Bucket": bucket}, f"held-{road.__name__}-{end}/"
    for name in ("read", "gone", "bulk"):
        keeper.put_object(**at, Key=prefix + name, Body=b"before")
    upload = keeper.create_multipart_upload(**at, Key=prefix + "parts")["UploadId"]
    part = keeper.upload_part(**at, Key=prefix + "parts", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    aborted = keeper.create_multipart_upload(**at, Key=prefix + "aborted")["UploadId"]
    with contextlib.ExitStack() as stack:
        held, road = {}, road(server.s3, stack)
        for name, row in rows(bucket, prefix, upload, part, aborted).items():
            call = Call(lease, row.method, row.key, row.path, row.query, row.body, extra=row.extra)
            held[name] = row, road.begin(call, row.body)
        if end == "revoked":
            lease.revoke()
        else:
            server.faults.step_clock(61)
        # The world goes on: of this nothing may be seen, and nothing undone.
        for name in ("read", "gone", "bulk", "put", "copied", AFTER.decode()):
            keeper.put_object(**at, Key=prefix + name, Body=AFTER)
        keeper.create_multipart_upload(**at, Key=prefix + AFTER.decode())
        before = state(keeper, bucket, prefix)
        wrong = {}
        for name, (row, one) in held.items():
            status, said, headers = road.finish(one)
            late = AFTER in said or headers.get("etag", "").strip('"') == hashlib.md5(AFTER).hexdigest()
            if late or (row.needs_body and status is not None and status < 400):
                wrong[name] = status, said
    # First what is told, then what is there.
    assert wrong == {}
    after = state(keeper, bucket, prefix)
    server.faults.wall_ns = 0
    for key, identifier in after[1]:
        keeper.abort_multipart_upload(**at, Key=key, UploadId=identifier)
    assert after == before


def test_the_api_asks_again_too(server):
    """A token that is ended while the body of its ask is on its way gets nothing."""
    caller = server.caller()
    body = b'{"bucket":"lake","whole_bucket":true}'
    headers = [("host", server.api.split("//")[1]), ("authorization", f"Bearer {caller.token}"), ("content-type", "application/json")]
    headers.append(("content-length", str(len(body))))
    with contextlib.closing(wire.begin(server.api, "POST", "/api/v1/credentials", headers)) as connection:
        connection.send(body[:-1])
        tokens = server.call("GET", f"/api/v1/tokens?account={caller.account}", server.admin_token).json()["tokens"]
        assert server.call("DELETE", f"/api/v1/tokens/{tokens[0]['id']}", server.admin_token).status in (200, 204)
        connection.send(body[-1:])
        assert connection.getresponse().status == 401


class TestWhoMayNotSend:
    """Is told so before a byte of the body is taken."""

    @pytest.mark.parametrize(
        "method, path, kind",
        [
            ("PUT", f"/api/v1/{{org}}/package/blobs/uploads/01?digest=sha256:{'0' * 64}", "application/octet-stream"),
            ("POST", "/api/v1/org/{org}/otel/traces", "application/x-protobuf"),
        ],
        ids=["package", "traces"],
    )
    def test_a_package_or_traces(self, server, method, path, kind):
        owner, stranger = server.caller(), server.caller()
        headers = [("host", server.api.split("//")[1]), ("authorization", f"Bearer {stranger.token}")]
        headers += [("content-type", kind), ("content-length", str(8 * MIB))]
        with contextlib.closing(wire.begin(server.api, method, path.format(org=owner.account), headers)) as connection:
            assert select.select([connection.sock], [], [], 5)[0], "it waits for the body"
            response = connection.getresponse()
            assert response.status in (403, 404), response.read()

    @pytest.mark.parametrize("method, key", [("GET", "x"), ("DELETE", "x"), ("GET", "")])
    def test_a_body_where_there_is_none(self, server, method, key):
        """What an operation has no use for is not waited for and not kept."""
        lease = server.vend(server.caller())
        call = Call(lease, method, key, payload=wire.UNSIGNED, extra={"content-length": str(2 * MIB)})
        with contextlib.closing(call.begin()) as connection:
            with contextlib.suppress(ConnectionError):
                connection.send(bytes(256 * 1024))
            assert select.select([connection.sock], [], [], 5)[0], "it waits for the body"


class TestSlowSenders:
    def test_of_one_account_leave_the_others_their_places(self, server):
        """Large bodies on their way to the store behind are few at a time; who sends nothing has no place."""
        slow, other = server.vend(server.caller("pond")), server.vend(server.caller("pond"))
        with contextlib.ExitStack() as stack:
            for number in range(40):
                extra = {"content-length": str(40 * MIB)}
                call = Call(slow, "PUT", f"slow/{number}", payload=wire.UNSIGNED, extra=extra)
                connection = stack.enter_context(contextlib.closing(call.begin()))
                connection.send(bytes(MIB // 2))
            body = os.urandom(MIB)
            s3 = other.boto3(read_timeout=20)
            s3.put_object(Bucket="pond", Key="quick", Body=body)
            assert s3.get_object(Bucket="pond", Key="quick")["Body"].read() == body

    @pytest.mark.parametrize("bucket", ["lake", "pond"])
    def test_are_ended_though_they_never_pause(self, server, bucket):
        """A byte every half minute is not idle, and is no way to send a body either."""
        lease = server.vend(server.caller(bucket), ttl=7200)
        call = Call(lease, "PUT", "drip", payload=wire.UNSIGNED, extra={"content-length": "1000000"})
        with contextlib.closing(call.begin()) as connection:
            for _ in range(60):
                with contextlib.suppress(ConnectionError):
                    connection.send(b"x")
                server.tick(30)
                if select.select([connection.sock], [], [], 0.05)[0]:
                    break
            else:
                pytest.fail("half an hour, and it still waits")
            status, said, _ = answer(connection)
            assert status in (400, 408, None), said
