"""A server that answers as the native API does, with credentials of other kinds than ours, and the storages behind it."""

import base64
import hashlib
import json
import secrets
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

CONTENT = b"what is stored"


class Upstream:
    """Vends what `vend` makes; serves one object to whoever shows a token that is not over."""

    def __init__(self, kind: str, life: int = 10, content: bytes = CONTENT, port: int = 0):
        self.kind, self.life, self.content, self.ends, self.asked, self.answer = kind, life, content, {}, 0, None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, status, body, kind="application/json"):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.send_header("etag", '"1"')
                self.send_header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.asked += 1
                if outer.answer:
                    return outer.answer(self)
                self.reply(200, json.dumps(outer.vend()).encode())

            def do_GET(self):
                if self.path == "/api/v1/me":
                    return self.reply(200, b'{"name": "ann", "account": {"name": "acme"}, "role": "member"}')
                if outer.kind == "azure":
                    return self.of_azure()
                token = self.headers.get("authorization", "").removeprefix("Bearer ")
                if outer.ends.get(token, 0) <= time.time():
                    return self.reply(401, b'{"error": {"code": 401, "message": "Invalid Credentials"}}')
                if "alt=json" in self.path:
                    return self.reply(200, json.dumps(outer.about(self.path)).encode())
                self.reply(200, outer.content, "application/octet-stream")

            def do_HEAD(self):
                self.of_azure()

            def of_azure(self):
                [signature] = parse_qs(urlsplit(self.path).query)["sig"]
                if outer.ends.get(signature, 0) <= time.time():
                    return self.reply(403, b"<Error><Code>AuthenticationFailed</Code></Error>", "application/xml")
                asked = self.headers.get("x-ms-range") or self.headers.get("range") or "bytes=0-"
                first, last = asked.removeprefix("bytes=").split("-")
                size = len(outer.content)
                start, end = (int(first), min(int(last or size), size - 1)) if first else (size - int(last), size - 1)
                part = b"" if self.command == "HEAD" else outer.content[start : end + 1]
                self.send_response(200 if self.command == "HEAD" else 206)
                self.send_header("content-range", f"bytes {start}-{end}/{size}")
                self.send_header("content-length", str(len(part) or size))
                self.send_header("etag", '"1"')
                self.send_header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
                self.end_headers()
                self.wfile.write(part)

            def do_DELETE(self):
                self.reply(200, b"{}")

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def about(self, path: str) -> dict:
        """What Google says of an object, or of the only one below a prefix."""
        path, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if path.endswith("/o"):
            return {"items": [self.about(f"{path}/{query['prefix'][0]}x")]}
        name = unquote(path.split("/o/")[1])
        return {
            "bucket": "lake",
            "name": name,
            "size": str(len(self.content)),
            "updated": "2026-01-01T00:00:00Z",
            "md5Hash": base64.b64encode(hashlib.md5(self.content).digest()).decode(),
            "mediaLink": f"{self.url}/download/{name}",
        }

    def vend(self) -> dict:
        end = int(time.time()) + self.life
        secret = secrets.token_urlsafe(24)
        self.ends[secret] = end
        parts = {
            "google": {"access_token": secret},
            "azure": {"sas_token": f"sv=1&sig={secret}"},
            "s3": {"access_key_id": f"AK{self.asked}", "secret_access_key": secret, "session_token": secret},
        }[self.kind]
        return parts | {
            "type": self.kind,
            "lease_id": f"lea_{self.asked}",
            "expiration": datetime.fromtimestamp(end, UTC).isoformat(),
            "endpoint_url": f"{self.url}/acct" if self.kind == "azure" else self.url,
            "region": "auto",
            "bucket": "lake",
            "prefixes": ["daily"],
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
