"""S3 requests by hand: AWS Signature Version 4 and HTTP with nothing between a test and the socket."""

import contextlib
import hashlib
import hmac
import http.client
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from harness import Lease

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY = hashlib.sha256(b"").hexdigest()


def uri(text: str, safe: str = "") -> str:
    return quote(text, safe="-_.~" + safe)


def mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str | None:
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found and found[1].decode()

    @property
    def outcome(self) -> tuple[int, str | None]:
        return self.status, self.code

    def keys(self) -> list[str]:
        return re.findall(r"<Key>([^<]*)</Key>", self.body.decode())


@dataclass
class Call:
    """One request. `sign` fills in the headers; what a test changes afterwards, the signature does not cover."""

    lease: Lease
    method: str = "GET"
    key: str = ""
    path: str = ""  # by default made of bucket and key
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    bucket: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    payload: str | None = None  # x-amz-content-sha256; by default the body's own hash
    unsigned: tuple[str, ...] = ()  # headers that are sent but not signed
    when: datetime | None = None
    secret: str | None = None
    token: str | None = ""  # "" is the lease's own, None sends none
    region: str = "auto"
    service: str = "s3"

    def sign(self) -> "Call":
        when = self.when or datetime.now(UTC)
        self.timestamp = when.strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.timestamp[:8]}/{self.region}/{self.service}/aws4_request"
        bucket = self.lease.bucket if self.bucket is None else self.bucket
        self.path = self.path or uri(f"/{bucket}/{self.key}" if self.key else f"/{bucket}", "/")
        self.query_string = "&".join(sorted(f"{uri(name)}={uri(value)}" for name, value in self.query.items()))
        token = self.lease.session_token if self.token == "" else self.token
        headers = {
            "host": urlsplit(self.lease.endpoint).netloc,
            "x-amz-date": self.timestamp,
            "x-amz-content-sha256": self.payload or hashlib.sha256(self.body).hexdigest(),
        }
        headers |= {"x-amz-security-token": token} if token else {}
        headers |= {name.lower(): value for name, value in self.extra.items()}
        signed = sorted(name for name in headers if name not in self.unsigned)
        canonical = "\n".join(
            [self.method, self.path, self.query_string]
            + [f"{name}:{headers[name].strip()}" for name in signed]
            + ["", ";".join(signed), headers["x-amz-content-sha256"]]
        )
        key = b"AWS4" + (self.secret or self.lease.secret_access_key).encode()
        for part in self.scope.split("/"):
            key = mac(key, part)
        self.signing_key = key
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        self.signature = mac(key, f"AWS4-HMAC-SHA256\n{self.timestamp}\n{self.scope}\n{digest}").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.lease.access_key_id}/{self.scope}, "
            f"SignedHeaders={';'.join(signed)}, Signature={self.signature}"
        )
        if self.body or self.method in ("PUT", "POST"):
            headers.setdefault("content-length", str(len(self.body)))
        self.headers = list(headers.items())
        return self

    def set(self, name: str, value: str) -> "Call":
        self.headers = [(n, value if n == name else v) for n, v in self.headers]
        return self

    def header(self, name: str) -> str:
        return dict(self.headers)[name]

    def send(self) -> Reply:
        """Sends exactly the path, query, headers and body at hand."""
        if not hasattr(self, "headers"):
            self.sign()
        return send(self.lease.endpoint, self.method, self.target, self.headers, self.body)

    def begin(self) -> http.client.HTTPConnection:
        """Sends the head only."""
        self.sign()
        return begin(self.lease.endpoint, self.method, self.target, self.headers)

    @property
    def target(self) -> str:
        return self.path + (f"?{self.query_string}" if self.query_string else "")

    def chunks(self, data: bytes, size: int = 64 * 1024) -> list[bytes]:
        """The body in aws-chunked form, each chunk signed on top of the one before."""
        previous, framed = self.signature, []
        for chunk in [data[start : start + size] for start in range(0, len(data), size)] + [b""]:
            digest = hashlib.sha256(chunk).hexdigest()
            text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.timestamp}\n{self.scope}\n{previous}\n{EMPTY}\n{digest}"
            previous = mac(self.signing_key, text).hex()
            framed.append(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), previous.encode(), chunk))
        return framed


def begin(endpoint: str, method: str, target: str, headers: list[tuple[str, str]]) -> http.client.HTTPConnection:
    """Sends a request's head, and nothing of its body."""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def send(endpoint: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> Reply:
    connection = begin(endpoint, method, target, headers)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused by its headers; the reply tells
            connection.send(body)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def http_chunked(data: bytes) -> bytes:
    """Transfer-Encoding: chunked, in two chunks."""
    half = len(data) // 2
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:half], data[half:], b""))


def presigned_until(url: str) -> datetime:
    date = datetime.strptime(re.search(r"X-Amz-Date=(\w+)", url)[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return date + timedelta(seconds=int(re.search(r"X-Amz-Expires=(\d+)", url)[1]))
