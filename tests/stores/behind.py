"""A server whose buckets lie behind its gateway, with the callers and the data of the demo: the clients' suite runs against it."""

import contextlib
import json
import os
import pathlib
import subprocess
import tempfile

from harness import DEMO, Caller, Server
from stores import Ceph, s3_client

BUCKETS = ["flights-lake", "airlines-lake"]
CALLERS = [
    ("analyst", "acme", "read", "flights-lake", "flights/daily"),
    ("etl", "acme", "read-write", "flights-lake", "flights/staging"),
    ("partner", "globex", "read", "airlines-lake", "airlines"),
]
FORBIDDEN = [
    ("flights-lake", "flights/daily-secret/2013-01-01.parquet"),
    ("airlines-lake", "planes/2013/planes.parquet"),
]


# What a server's gateways may serve of its machine, says who starts it.
os.environ["VALETKEY_GATEWAY__LOCAL_ROOTS"] = tempfile.gettempdir()


class LocalDisk:
    """A directory, with one more in it for each bucket."""

    def __init__(self, directory: pathlib.Path):
        self.root = directory
        self.settings, self.secrets = {"backend": "local", "root": str(directory)}, {}

    def make_bucket(self, bucket: str) -> None:
        (self.root / bucket).mkdir()

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Writes without the gateway's knowledge."""
        (self.root / bucket / key).parent.mkdir(parents=True, exist_ok=True)
        (self.root / bucket / key).write_bytes(data)

    def get(self, bucket: str, key: str) -> bytes:
        return (self.root / bucket / key).read_bytes()


class OtherS3:
    """Ceph, as if it had no STS."""

    def __init__(self, ceph: Ceph):
        self.ceph, self.parent, self.secrets = ceph, ceph.parent, ceph.secrets
        self.settings = {"backend": "s3", "endpoint": ceph.endpoint, "region": "us-east-1", "allow_http": True, "exact_keys": True}

    def make_bucket(self, bucket: str) -> None:
        self.ceph.parent.create_bucket(Bucket=bucket)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.ceph.parent.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        return self.ceph.parent.get_object(Bucket=bucket, Key=key)["Body"].read()


class OtherValetkey:
    """Another Valetkey's own storage, opened with a parent access key."""

    def __init__(self, binary: str, directory: pathlib.Path, settings: dict[str, str] | None = None):
        self.server = Server(binary, directory, settings)

    def make_bucket(self, bucket: str) -> None:
        if bucket not in [made["bucket"] for made in self._buckets()]:
            self.server.make("buckets", bucket=bucket)

    def _buckets(self) -> list[dict]:
        return self.server.call("GET", "/api/v1/buckets", self.server.admin_token).json()["buckets"]

    def open(self, buckets: list[str]) -> None:
        """What the gateway is given: buckets that are there already."""
        for bucket in buckets:
            self.make_bucket(bucket)
        reach = {"buckets": buckets, "permission": "object-read-write"}
        made = self.server.make("parent-keys", name="gateway", account="acme", **reach)
        self.server.secrets |= {made["token"], made["secret_access_key"]}
        self.secrets = {name: made[name] for name in ("access_key_id", "secret_access_key")}
        self.settings = {"backend": "s3", "endpoint": made["endpoint"], "region": "auto", "allow_http": True, "exact_keys": True}
        self.settings["trailing_checksums"] = True
        self.parent = s3_client(made["endpoint"], **self.secrets)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.parent.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        return self.parent.get_object(Bucket=bucket, Key=key)["Body"].read()

    def __enter__(self) -> "OtherValetkey":
        return self

    def __exit__(self, *_) -> None:
        self.server.stop()


class Behind(Server):
    """`valetkey server` in front of a backend, set up as an operator does it."""

    def __init__(self, binary: str, directory: pathlib.Path, backend, settings: dict[str, str] | None = None):
        self.backend = backend
        done = subprocess.run(
            [binary, "server", "init", "--data-dir", str(directory / "data"), "--output", "json"],
            capture_output=True,
            check=True,
            timeout=60,
        )
        self.admin_token = json.loads(done.stdout)["operator_token"]
        super().__init__(binary, directory, {"VALETKEY_S3__MIN_TTL_SECS": "1"} | (settings or {}))

    def _command(self) -> list[str]:
        return ["server", "run"]

    def _started(self) -> None:
        self.secrets.add(self.admin_token)
        if secret := self.backend.secrets.get("secret_access_key"):
            self.secrets.add(secret)
        self.make(
            "storages",
            name="gateway",
            kind="gateway",
            min_ttl_secs=1,
            settings=self.backend.settings,
            **({"secrets": self.backend.secrets} if self.backend.secrets else {}),
        )
        for bucket in BUCKETS:
            self.backend.make_bucket(bucket)
            self.make("buckets", bucket=bucket, storage="gateway")
        for account in sorted({account for _, account, *_ in CALLERS}):
            self.make("accounts", name=account)
        self.callers = [self.called(*caller) for caller in CALLERS]
        self.forbidden = FORBIDDEN
        self._fill()

    def called(self, name: str, account: str, access: str, bucket: str, prefix: str) -> Caller:
        """A new caller with a grant."""
        token = self.make("tokens", account=account, caller=name)["token"]
        self.secrets.add(token)
        where = {"prefix": prefix} if prefix else {"whole_bucket": True}
        grant = f"{bucket}-{prefix or 'whole'}".replace("/", "-")
        self.make("grants", account=account, name=grant, to=name, bucket=bucket, access=access, **where)
        return Caller(name, account, token, access, bucket, prefix)

    def _fill(self) -> None:
        """Puts the demo's data in place, through the gateway."""
        self.make("accounts", name="fillers")
        for bucket in BUCKETS:
            caller = self.called(f"filler-of-{bucket}", "fillers", "read-write", bucket, "")
            s3 = self.vend(caller, prefix=None, whole_bucket=True).boto3()
            for path in sorted((DEMO / bucket).rglob("*")):
                if path.is_file():
                    s3.put_object(Bucket=bucket, Key=str(path.relative_to(DEMO / bucket)), Body=path.read_bytes())


@contextlib.contextmanager
def started(storage: str, make_directory):
    """A server with its buckets behind the gateway on the store of that name."""
    with contextlib.ExitStack() as stack:
        directory = make_directory(storage)
        match storage:
            case "gateway-local":
                backend = LocalDisk(directory)
            case "gateway-ceph":
                backend = OtherS3(stack.enter_context(Ceph(directory)))
            case "gateway-valetkey":
                backend = stack.enter_context(OtherValetkey(os.environ["VALETKEY_BIN"], directory))
                backend.open(BUCKETS)
        yield stack.enter_context(Behind(os.environ["VALETKEY_BIN"], make_directory("valetkey"), backend))
