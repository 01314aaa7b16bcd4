"""Valetkey under load: how it is started, and the accounts, tokens and keys the load needs."""

import concurrent.futures
import http.client
import json
import os
import socket
import threading
import urllib.parse

import presign
from machine import Server

# No rate limits, because the load comes from one machine; and only warnings, as in production.
QUIET = {"VALETKEY_LIMITS__CREDENTIALS": "", "VALETKEY_LIMITS__REQUESTS": "", "VALETKEY_LOG__LEVEL": "warn"}
VEND = "/v1/datasets/credentials"
NATIVE_VEND = "/api/v1/credentials"
# The demo's dataset that the accounts made here get to read.
DATASET = "flights-daily"


def command(binary, data_dir, api="127.0.0.1:0", s3="127.0.0.1:0"):
    """The command that serves a data directory."""
    return [binary, "dev", "--data-dir", data_dir, "--api-listen", api, "--s3-listen", s3, "--output", "json"]


class Valetkey(Server):
    """A running Valetkey, with its addresses and its operator's token."""

    def __init__(self, binary, data_dir, mode="durable", **settings):
        super().__init__(command(binary, data_dir), {**QUIET, "VALETKEY_LEDGER__MODE": mode, **settings})

    def wait_ready(self):
        took = super().wait_ready()
        ready = json.loads(self.said)
        self.api, self.s3, self.admin = ready["api"], ready["s3"], ready["admin"]["token"]
        return took

    def ask(self, method, path, token, body=None):
        """One call of the API; anything but success ends the benchmark."""
        return Connection(self.api).ask(method, path, token, body)

    def account(self, name):
        """Makes an account whose callers all may read the dataset. Returns its id."""
        account = self.ask("POST", "/api/v1/accounts", self.admin, {"name": name})["id"]
        self.ask("POST", "/api/v1/grants", self.admin, {"account": account, "name": "data", "to": None, "dataset": DATASET})
        return account

    def token(self, account, caller):
        """Makes a caller of an account. Returns its token."""
        return self.ask("POST", "/api/v1/tokens", self.admin, {"account": account, "caller": caller})["token"]


class Connection:
    """A kept connection for each thread."""

    threads = threading.local()

    def __init__(self, url):
        kept = self.threads.__dict__.setdefault("kept", {})
        self.kept, self.host = kept, urllib.parse.urlparse(url).netloc
        if self.host not in kept:
            kept[self.host] = http.client.HTTPConnection(self.host, timeout=60)
            kept[self.host].connect()
            kept[self.host].sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method, path, token, body=None):
        """One call with JSON both ways."""
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        return json.loads(self.send(method, path, body, headers))

    def send(self, method, path, body, headers):
        """One request, which must succeed; returns the answer's body."""
        status, content = self.answer(method, path, body, headers)
        if status not in (200, 201):
            raise SystemExit(f"{method} {path} answered {status}: {content[:500]!r}")
        return content

    def answer(self, method, path, body, headers):
        """One request; returns the answer's status and body."""
        connection = self.kept[self.host]
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def each(work, items, threads=8):
    """Does the work for each item, several at a time; the results in order."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def answer_of(url, token):
    """One whole answer to a vend, as it is on the wire: its header lines, an empty line, and its body."""
    parts = urllib.parse.urlparse(url)
    with socket.create_connection((parts.hostname, parts.port)) as wire:
        head = f"POST {VEND} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n"
        wire.sendall(f"{head}connection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    status, rest = answer.split(b"\r\n", 1)
    if b" 200 " not in status:
        raise SystemExit(f"a vend answered {answer!r}")
    head, body = rest.split(b"\r\n\r\n", 1)
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


def free_address():
    """An address nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % probe.getsockname()[1]


def on_disk(path):
    """Whether a directory is on a disk, not in memory."""
    with open("/proc/mounts") as mounts:
        at = [line.split()[1:3] for line in mounts]
    path = os.path.realpath(path)
    inside = [(len(mount), kind) for mount, kind in at if path == mount or path.startswith(mount.rstrip("/") + "/")]
    return max(inside)[1] not in ("tmpfs", "ramfs")


def vends(server):
    """A vend in each dialect as a whole request: what the demo's own callers would send."""
    ready = json.loads(server.said)
    dreadnode, r2, sharing = ready["dreadnode"], ready["r2"], ready["delta_sharing"]["profile"]
    sts, grants, unity, iceberg = (ready[name] for name in ("sts", "access_grants", "unity", "iceberg"))

    def request(method, url, token, body=None):
        headers = {"authorization": f"Bearer {token}"}
        if body is not None:
            headers["content-type"] = "application/json"
        written = b"" if body is None else json.dumps(body).encode()
        return presign.plain(method, urllib.parse.urlparse(url).path, "127.0.0.1", headers, written)

    prefix, token = urllib.parse.urlparse(sharing["endpoint"]).path.rstrip("/"), sharing["bearerToken"]
    share = server.ask("GET", f"{prefix}/shares", token)["items"][0]["name"]
    tables = server.ask("GET", f"{prefix}/shares/{share}/all-tables", token)["items"]
    table = next(table for table in tables if "dir" in table.get("accessModes", ()))
    path = f"{prefix}/shares/{table['share']}/schemas/{table['schema']}/tables/{table['name']}"
    workspace = f"/api/v1/org/{dreadnode['organization']}/ws/{dreadnode['workspace']}"
    wish = {"bucket": r2["bucket"], "parentAccessKeyId": r2["parent_access_key_id"], "permission": "object-read-only", "ttlSeconds": 3600}
    catalog = "/api/2.1/unity-catalog"
    table_id = server.ask("GET", f"{catalog}/tables/{unity['table']}", unity["token"])["table_id"]
    namespace, name = iceberg["table"].split(".")
    form = "application/x-www-form-urlencoded"
    role = {"Version": "2011-06-15", "RoleArn": sts["role_arn"], "RoleSessionName": "bench"}
    signed = urllib.parse.urlencode({"Action": "AssumeRole", **role}).encode()
    bought = {"Action": "AssumeRoleWithWebIdentity", **role, "WebIdentityToken": ready["callers"][0]["token"]}
    data_access = {"target": grants["target"], "permission": "READ"}
    return {
        "theirstack": request("POST", VEND, ready["callers"][0]["token"]),
        "native": request("POST", NATIVE_VEND, ready["callers"][0]["token"], {}),
        "dreadnode": request("GET", f"{workspace}/storage/credentials", dreadnode["token"]),
        "r2": request("POST", f"{r2['base_url']}/accounts/{r2['account_id']}/r2/temp-access-credentials", r2["api_token"], wish),
        "sharing": request("POST", f"{path}/temporary-table-credentials", token),
        "unity": request("POST", f"{catalog}/temporary-table-credentials", unity["token"], {"table_id": table_id, "operation": "READ"}),
        "iceberg": request(
            "GET", f"/iceberg/v1/{iceberg['warehouse']}/namespaces/{namespace}/tables/{name}/credentials", iceberg["token"]
        ),
        "sts, by token": presign.plain("POST", "/sts", "127.0.0.1", {"content-type": form}, urllib.parse.urlencode(bought).encode()),
        "sts, signed": presign.proven(
            "POST", "/sts", {}, "127.0.0.1", (sts["access_key_id"], sts["secret_access_key"]), "sts", signed, {"content-type": form}
        ),
        "access grants, signed": presign.proven(
            "GET",
            "/v20180820/accessgrantsinstance/dataaccess",
            data_access,
            "127.0.0.1",
            (grants["access_key_id"], grants["secret_access_key"]),
            "s3",
            headers={"x-amz-account-id": grants["account_id"]},
        ),
    }
