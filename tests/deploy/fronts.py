"""The proxies of `deploy/proxy`, as they stand there: only names of files and ports are others. And the server behind them."""

import contextlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import urllib.request
from dataclasses import dataclass

from faults import killed, until
from harness import Lease
from serving import Faulty, Setup

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
API, S3 = "valet.example.com", "s3.example.com"
# Where the client asks from: loopback has more addresses than one.
CLIENT = "127.0.0.2"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Authority:
    """A certificate authority of our own, as in `docs/tls.md`, and a certificate for both names."""

    def __init__(self, directory: pathlib.Path):
        self.ca, self.cert, self.key, both = (directory / name for name in ("ca.pem", "server.pem", "server.key", "haproxy.pem"))
        ca_key, csr, ext = directory / "ca.key", directory / "server.csr", directory / "server.ext"
        ext.write_text(f"subjectAltName=DNS:{API},DNS:{S3},DNS:*.{S3}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for command in (
            ["req", "-x509", *new, "-days", "2", "-subj", "/CN=Ours", "-keyout", ca_key, "-out", self.ca],
            ["req", *new, "-subj", f"/CN={API}", "-keyout", self.key, "-out", csr],
            ["x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-extfile", ext, "-out", self.cert],
        ):
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        both.write_text(self.cert.read_text() + self.key.read_text())
        self.both = both


class Node(Faulty):
    """`valetkey server run` behind a proxy, on ports that are known before."""

    def __init__(self, binary: str, directory: pathlib.Path, port: int, settings: dict[str, str]):
        self.ports = [free_port() for _ in range(3)]
        api, s3 = f"https://{API}:{port}", f"https://{S3}:{port}"
        front = {"VALETKEY_TRUSTED_PROXIES": "127.0.0.1", "VALETKEY_API__PUBLIC_URL": api, "VALETKEY_S3__PUBLIC_URL": s3}
        watch = {"VALETKEY_S3__DOMAINS": S3, "VALETKEY_METRICS__LISTEN": f"127.0.0.1:{self.ports[2]}"}
        super().__init__(Setup(binary, pathlib.Path()), directory, front | watch | settings)

    def start(self) -> None:
        api, s3, _ = (f"127.0.0.1:{port}" for port in self.ports)
        command = [self.binary, "server", "run", "--data-dir", str(self.data), "--output", "json", "--api-listen", api, "--s3-listen", s3]
        with self.log.open("ab") as log:
            env = os.environ | {"VALETKEY_LOG__LEVEL": "debug", "VALETKEY_LOG__FORMAT": "json"} | self.settings
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env)
        self.said = self._ready()
        # What prepares a test asks the server itself.
        self.api = f"http://{api}"

    def watched(self, path: str) -> str:
        """What the listener for who watches says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[2]}{path}", timeout=10) as answer:
            return answer.read().decode()


def settled(text: str, *changes: tuple[str, str]) -> str:
    """The file with other names and ports; each of them is there."""
    for old, new in changes:
        assert old in text, f"{old!r} is not in the file"
        text = text.replace(old, new)
    return text


@dataclass
class Front:
    """A running proxy, with a node behind it."""

    node: Node
    authority: Authority
    port: int

    def curl(self, *args: str, host: str = API, source: str = CLIENT) -> subprocess.CompletedProcess:
        names = [part for name in (API, S3, f"lake.{S3}") for part in ("--resolve", f"{name}:{self.port}:127.0.0.1")]
        known = ["curl", "--silent", "--show-error", "--max-time", "30", "--cacert", str(self.authority.ca), "--interface", source]
        return subprocess.run([*known, *names, *args], capture_output=True, text=True, timeout=40)

    def vend(self, caller, *args: str, **fields) -> Lease:
        """What the API answers through the proxy, asked with curl."""
        body = {"bucket": caller.bucket, "access": caller.access, "prefix": caller.prefix, "ttl_secs": 900} | fields
        auth = ["-H", f"Authorization: Bearer {caller.token}", "-H", "Content-Type: application/json", "-d", json.dumps(body)]
        done = self.curl(*auth, *args, f"https://{API}:{self.port}/api/v1/credentials")
        assert done.returncode == 0, done
        vended = json.loads(done.stdout)
        self.node.secrets |= {vended["secret_access_key"], vended["session_token"]}
        known = {name: vended[name] for name in ("access_key_id", "secret_access_key", "session_token", "region", "bucket", "access")}
        return Lease(
            id=vended["lease_id"],
            expiration=None,
            endpoint=vended["endpoint_url"],
            prefix=caller.prefix,
            objects=[],
            server=self.node,
            **known,
        )

    def raw(self) -> ssl.SSLSocket:
        """A connection to the S3 endpoint through the proxy."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 20), server_hostname=S3)


class HAProxy(Front):
    settings = {"VALETKEY_S3__PROXY_PROTOCOL": "true"}

    @contextlib.contextmanager
    def running(self, directory: pathlib.Path, *changes: tuple[str, str]):
        api, s3, watch = self.node.ports
        text = settled(
            (DEPLOY / "proxy/haproxy.cfg").read_text(),
            ("bind :443 ", f"bind 127.0.0.1:{self.port} "),
            ("/etc/valetkey/haproxy.pem", str(self.authority.both)),
            ("127.0.0.1:7070\n", f"127.0.0.1:{api}\n"),
            ("127.0.0.1:7071\n", f"127.0.0.1:{s3}\n"),
            ("check port 7072 ", f"check port {watch} "),
            *changes,
        )
        file = directory / "haproxy.cfg"
        file.write_text(text)
        yield from proxied(["haproxy", "-f", file], directory, self.port)


class Nginx(Front):
    settings = {}

    @contextlib.contextmanager
    def running(self, directory: pathlib.Path, *changes: tuple[str, str]):
        api, s3, _ = self.node.ports
        text = settled(
            (DEPLOY / "proxy/nginx.conf").read_text(),
            ("listen 443 ", f"listen 127.0.0.1:{self.port} "),
            ("/etc/valetkey/server.pem", str(self.authority.cert)),
            ("/etc/valetkey/server.key", str(self.authority.key)),
            ("127.0.0.1:7070;", f"127.0.0.1:{api};"),
            ("127.0.0.1:7071;", f"127.0.0.1:{s3};"),
            *changes,
        )
        (directory / "valetkey.conf").write_text(text)
        temp = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        own = f"daemon off; master_process off; pid {directory}/pid; error_log stderr info; events {{}}"
        (directory / "nginx.conf").write_text(f"{own} http {{ access_log off; {temp} include {directory}/valetkey.conf; }}")
        yield from proxied(["nginx", "-p", directory, "-c", directory / "nginx.conf"], directory, self.port)


def proxied(command: list, directory: pathlib.Path, port: int):
    """Runs it until its user is done."""
    with (directory / "proxy.log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)

    def listens() -> bool:
        assert process.poll() is None, (directory / "proxy.log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        until(listens)
        yield
    finally:
        killed(process)
