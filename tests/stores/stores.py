"""The stores that the tests run against, each started anew and stopped at the end."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import boto3
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

HERE = pathlib.Path(__file__).resolve().parent


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def s3_client(endpoint, access_key_id, secret_access_key, session_token=None):
    """Tries once, and sends no checksums of its own: this Ceph knows none of them."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class Ceph:
    """A one-node Ceph cluster: S3 and STS."""

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        ports = map(str, free_ports(2))
        done = subprocess.run([HERE / "ceph" / "up", directory, *ports], capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(done.stderr)
        told = json.loads(done.stdout)
        self.endpoint, self.role_arn, self.sealing_key = told["endpoint"], told["role_arn"], told["sealing_key"]
        self.secrets = {name: told[name] for name in ("access_key_id", "secret_access_key")}
        self.parent = s3_client(self.endpoint, **self.secrets)

    def admin(self, *command: str) -> str:
        """What the cluster's own administration says."""
        env = os.environ | {"CEPH_CONF": str(self.directory / "ceph.conf")}
        done = subprocess.run(["radosgw-admin", *command], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> "Ceph":
        return self

    def __exit__(self, *_) -> None:
        subprocess.run([HERE / "ceph" / "down", self.directory], check=True, timeout=60)


class Azurite:
    """Microsoft's emulator of Blob Storage, with an account whose key is new."""

    account = "devstoreaccount1"

    def __init__(self, directory: pathlib.Path):
        self.key = base64.b64encode(os.urandom(64)).decode()
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}/{self.account}"
        command = ["node", str(HERE / "node_modules/azurite/dist/src/blob/main.js"), "--silent", "--disableTelemetry"]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
        command += ["--skipApiVersionCheck"]
        log = directory / "azurite.log"
        with log.open("wb") as out:
            env = os.environ | {"AZURITE_ACCOUNTS": f"{self.account}:{self.key}"}
            # `node` is a script that starts the real one: both are ended, as a group.
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.__exit__()
                    raise RuntimeError(f"Azurite did not start:\n{log.read_text()}") from None
                time.sleep(0.05)
        credential = {"account_name": self.account, "account_key": self.key}
        self.parent = BlobServiceClient(self.endpoint, credential=credential, retry_total=0)

    def __enter__(self) -> "Azurite":
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
