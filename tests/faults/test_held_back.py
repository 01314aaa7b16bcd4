"""Bodies whose last byte is held back: whatever is done counts at the time it is done, not at the time it was begun."""

import base64
import contextlib
import hashlib
import http.client
from dataclasses import dataclass, field

import pytest

import wire

AFTER = b"after-the-end"
CORS = b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>"
DELETE = b"<Delete><Object><Key>held/bulk</Key></Object></Delete>"
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


def rows(bucket: str, upload: str, part: str, aborted: str) -> dict[str, Row]:
    done = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>"
    md5 = {"content-md5": base64.b64encode(hashlib.md5(DELETE).digest()).decode()}
    return {
        "GetObject": Row("GET", "held/read"),
        "HeadObject": Row("HEAD", "held/read"),
        "ListObjects": Row("GET", query={"prefix": "held/"}),
        "ListObjectsV2": Row("GET", query={"list-type": "2", "prefix": "held/"}),
        "ListMultipartUploads": Row("GET", query={"uploads": ""}),
        "ListParts": Row("GET", "held/parts", {"uploadId": upload}),
        "GetBucketLocation": Row("GET", query={"location": ""}),
        "HeadBucket": Row("HEAD"),
        "DeleteObject": Row("DELETE", "held/gone"),
        "DeleteObjects": Row("POST", query={"delete": ""}, body=DELETE, extra=md5, needs_body=True),
        "PutObject": Row("PUT", "held/put", needs_body=True),
        "CopyObject": Row("PUT", "held/copied", extra={"x-amz-copy-source": f"/{bucket}/held/read"}),
        "CreateMultipartUpload": Row("POST", "held/begun", {"uploads": ""}),
        "UploadPart": Row("PUT", "held/parts", {"partNumber": "2", "uploadId": upload}, needs_body=True),
        "UploadPartCopy": Row(
            "PUT", "held/parts", {"partNumber": "3", "uploadId": upload}, extra={"x-amz-copy-source": f"/{bucket}/held/read"}
        ),
        "CompleteMultipartUpload": Row("POST", "held/parts", {"uploadId": upload}, done.encode(), needs_body=True),
        "AbortMultipartUpload": Row("DELETE", "held/aborted", {"uploadId": aborted}),
        "PutBucketCors": Row("PUT", query={"cors": ""}, body=CORS, needs_body=True),
    }


def state(s3, bucket: str):
    """Everything there is."""
    objects = {
        entry["Key"]: s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        for entry in s3.list_objects_v2(Bucket=bucket, Prefix="held/").get("Contents", [])
    }
    uploads = {}
    for entry in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        at = {"Key": entry["Key"], "UploadId": entry["UploadId"]}
        parts = s3.list_parts(Bucket=bucket, **at).get("Parts", [])
        uploads[at["Key"], at["UploadId"]] = [(part["PartNumber"], part["ETag"]) for part in parts]
    return objects, uploads


def answer(connection: http.client.HTTPConnection) -> tuple[int | None, bytes, dict]:
    """What comes back; nothing if the connection was closed."""
    try:
        response = connection.getresponse()
        return response.status, response.read(), dict(response.headers)
    except (ConnectionError, http.client.HTTPException):
        return None, b"", {}


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
