"""Stores that somebody else runs, as stubs: well-behaved ones that can be told to misbehave."""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What goes back; `length` is what is announced of it, if that is not the truth (None: nothing is announced)."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None | str = "true"


RESET = "the connection is reset"
SILENCE = "nothing is ever said"


class Stub:
    """An HTTP server whose answers are a function; a fault counts for so many requests, or for all until another word."""

    def __init__(self, answer: Callable[[Request], Response]):
        self.answer, self.requests = answer, []
        self._fault, self._left, self._lock = None, 0, threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def fault(self, fault=None, times: int = 1 << 30) -> "Stub":
        """The next requests are answered with that: a Response, RESET, SILENCE, or a function of the request."""
        with self._lock:
            self._fault, self._left = fault, times
            self.requests.clear()
        return self

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _next(self, request: Request):
        with self._lock:
            self.requests.append(request)
            if self._left > 0 and self._fault is not None:
                self._left -= 1
                return self._fault(request) if callable(self._fault) else self._fault
        return self.answer(request)

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as incoming:
            while line := incoming.readline():
                method, target, _ = line.decode().split()
                headers = {}
                while (line := incoming.readline().decode().strip()):
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = incoming.read(int(headers.get("content-length", "0")))
                at = urlsplit(target)
                query = dict(parse_qsl(at.query, keep_blank_values=True))
                response = self._next(Request(method, at.path, query, headers, body))
                if response is RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return  # closed with unread state: the other side sees a reset
                if response is SILENCE:
                    incoming.read(1)  # until the other side has had enough
                    return
                if not self._send(connection, method, response):
                    return

    def _send(self, connection: socket.socket, method: str, response: Response) -> bool:
        """Whether the connection can go on after it."""
        pieces = [response.body] if isinstance(response.body, bytes) else response.body
        head = {"date": "Thu, 01 Jan 2026 00:00:00 GMT"} | response.headers
        length = response.length
        if length == "true":
            length = len(response.body) if isinstance(response.body, bytes) else None
        head |= {"connection": "close"} if length is None else {"content-length": str(length)}
        text = f"HTTP/1.1 {response.status} Whatever\r\n" + "".join(f"{name}: {value}\r\n" for name, value in head.items())
        connection.sendall(text.encode() + b"\r\n")
        if method != "HEAD":
            for piece in pieces:
                connection.sendall(piece)
        return response.length == "true" and length is not None

    def __enter__(self) -> "Stub":
        return self

    def __exit__(self, *_) -> None:
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def endless(piece: bytes, most: int = 1 << 30) -> Iterable[bytes]:
    """The same again and again, up to more than anybody should take."""
    for _ in range(most // len(piece)):
        yield piece


HTML = Response(200, b"<!DOCTYPE html><html><body><form action='/login'>Please log in</form></body></html>", {"content-type": "text/html"})


class S3Stub(Stub):
    """As much of S3 as a gateway asks for, over objects in memory."""

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.uploads: set[str] = set()
        super().__init__(self._s3)

    def _s3(self, request: Request) -> Response:
        _, bucket, *rest = request.path.split("/", 2)
        key = rest[0] if rest else ""
        xml = {"content-type": "application/xml"}
        if request.method == "POST" and "delete" in request.query:
            gone = re.findall(rb"<Key>([^<]*)</Key>", request.body)
            for one in gone:
                self.objects.pop(one.decode(), None)
            return Response(200, b"<DeleteResult>" + b"".join(b"<Deleted><Key>%s</Key></Deleted>" % one for one in gone) + b"</DeleteResult>", xml)
        if request.method == "POST" and "uploads" in request.query:
            self.uploads.add("upload-1")
            said = f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>upload-1</UploadId></InitiateMultipartUploadResult>"
            return Response(200, said.encode(), xml)
        if request.method == "DELETE" and (upload := request.query.get("uploadId")):
            if upload not in self.uploads:
                return Response(404, b"<Error><Code>NoSuchUpload</Code><Message>no</Message></Error>", xml)
            self.uploads.remove(upload)
            return Response(204)
        if not key:
            return Response(200, self._list(bucket, request.query.get("prefix", "")), xml)
        match request.method:
            case "PUT":
                self.objects[key] = request.body
                return Response(200, b"", self._told(key))
            case "DELETE":
                self.objects.pop(key, None)
                return Response(204)
            case "GET" | "HEAD" if key in self.objects:
                body = self.objects[key]
                told = self._told(key)
                if (range_ := request.headers.get("range")) and range_.startswith("bytes="):
                    first, _, last = range_.removeprefix("bytes=").partition("-")
                    first, last = int(first), min(int(last or len(body) - 1), len(body) - 1)
                    told["content-range"] = f"bytes {first}-{last}/{len(body)}"
                    return Response(206, body[first : last + 1], told)
                return Response(200, body, told)
        return Response(404, b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>", xml)

    def _told(self, key: str) -> dict[str, str]:
        return {
            "etag": f'"{len(self.objects[key]):032x}"',
            "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "content-type": "application/octet-stream",
        }

    def _list(self, bucket: str, prefix: str) -> bytes:
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;{len(body):032x}&quot;</ETag>"
            f"<Size>{len(body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, body in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{prefix}</Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        ).encode()


XML = {"content-type": "application/xml"}


def assumed(number: int, size: str = "10", around: str = "") -> bytes:
    """What AssumeRole answers; each number is another credential."""
    end = (datetime.now(UTC) + timedelta(seconds=3590)).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = {
        "AccessKeyId": f"ASIA{number}",
        "SecretAccessKey": f"given-secret-{number}",
        "SessionToken": f"given-token-{number}",
        "Expiration": end,
    }
    text = "".join(f"<{name}>{around}{value}{around}</{name}>" for name, value in values.items())
    return (
        f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{text}</Credentials><PackedPolicySize>{size}</PackedPolicySize>"
        f"</AssumeRoleResult><ResponseMetadata><RequestId>request-{number}</RequestId></ResponseMetadata></AssumeRoleResponse>"
    ).encode()
