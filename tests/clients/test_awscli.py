import subprocess
import sys
from pathlib import Path

import pytest

from contract import PART, Client, ListsByText, Refusal, Whole
from harness import MIB

AWS = Path(sys.executable).with_name("aws")
# Version 2 is no Python package; this is Debian's.
AWS_2 = Path("/usr/bin/aws")
CONFIG = f"""\
[default]
s3 =
    multipart_threshold = {PART}
    multipart_chunksize = {PART}
"""


class Failed(Exception):
    """What the command line client printed on stderr."""


class AwsCli(Client):
    program = AWS
    denied = Refusal(Failed, r"\((AccessDenied|403)\)")
    absent = Refusal(Failed, r"\((NoSuchKey|404)\)")
    expired = Refusal(Failed, r"\((ExpiredToken|400)\)")  # 400: `cp` begins with HEAD, whose answer has no body

    def __init__(self, lease, scratch):
        super().__init__(lease, scratch)
        (scratch / "config").write_text(CONFIG)
        self.env = lease.env() | {"AWS_CONFIG_FILE": str(scratch / "config"), "AWS_MAX_ATTEMPTS": "1"}

    def aws(self, *args, data=None) -> bytes:
        command = [self.program, "--endpoint-url", self.lease.endpoint, *args]
        done = subprocess.run(command, env=self.env, input=data, capture_output=True, timeout=60)
        if done.returncode:
            raise Failed(done.stderr.decode())
        return done.stdout

    def read(self, bucket, key):
        return self.aws("s3", "cp", f"s3://{bucket}/{key}", "-")

    def read_range(self, bucket, key, start, length):
        target = self.scratch / "range"
        at = ["--bucket", bucket, "--key", key, "--range", f"bytes={start}-{start + length - 1}"]
        self.aws("s3api", "get-object", *at, target)
        return target.read_bytes()

    def list(self, bucket, prefix):
        listing = self.aws("s3", "ls", "--recursive", f"s3://{bucket}/{prefix}").decode()
        return [line.split(maxsplit=3)[3] for line in listing.splitlines()]

    def write(self, bucket, key, data):
        (self.scratch / "source").write_bytes(data)
        self.aws("s3", "cp", self.scratch / "source", f"s3://{bucket}/{key}")

    write_parts = write

    def copy(self, bucket, source, target):
        self.aws("s3", "cp", f"s3://{bucket}/{source}", f"s3://{bucket}/{target}")

    def delete(self, bucket, key):
        self.aws("s3", "rm", f"s3://{bucket}/{key}")


class TestAwsCli(Whole, ListsByText):
    client = AwsCli

    def test_syncs(self, use, reading):
        client = use(reading)
        target = client.scratch / "synced"
        client.aws("s3", "sync", f"s3://{reading.bucket}/{reading.prefix}", target)
        assert {f"{reading.prefix}/{path.name}" for path in target.iterdir()} == set(
            client.list(reading.bucket, f"{reading.prefix}/")
        )

    def test_shows_one_folder(self, use, reading):
        """`ls` without a slash asks for what begins so; the sibling folder must not show."""
        assert use(reading).aws("s3", "ls", f"s3://{reading.bucket}/{reading.prefix}").split() == [b"PRE", b"daily/"]


class AwsCli2(AwsCli):
    program = AWS_2


class TestAwsCli2(TestAwsCli):
    client = AwsCli2

    def test_is_version_2(self):
        assert subprocess.run([AWS_2, "--version"], capture_output=True, check=True).stdout.startswith(b"aws-cli/2.")

    # Above 8 MiB, the threshold it comes with, a copy is one in parts: it asks for tags, and gives them.
    @pytest.mark.parametrize("size", [1000, 20 * MIB])
    def test_copies_moves_and_syncs_between_two_places(self, use, writing, folder, size):
        client = use(writing)
        (client.scratch / "config").write_text("[default]\n")
        body = bytes(range(256)) * (size // 256 + 1)
        place = f"s3://{writing.bucket}/{folder}"
        client.write(writing.bucket, f"{folder}/one/o", body)
        client.aws("s3", "cp", f"{place}/one/o", f"{place}/two/copied")
        assert client.read(writing.bucket, f"{folder}/two/copied") == body
        client.aws("s3", "sync", f"{place}/one", f"{place}/three")
        assert client.read(writing.bucket, f"{folder}/three/o") == body
        client.aws("s3", "mv", f"{place}/one/o", f"{place}/four/moved")
        assert client.read(writing.bucket, f"{folder}/four/moved") == body
        assert sorted(client.list(writing.bucket, f"{folder}/")) == [
            f"{folder}/{key}" for key in ("four/moved", "three/o", "two/copied")
        ]

    def test_copies_nothing_to_where_it_may_not_write(self, use, writing, folder):
        client = use(writing)
        client.write(writing.bucket, f"{folder}/o", b"x" * (9 * MIB))
        with client.denied():
            client.aws("s3", "cp", f"s3://{writing.bucket}/{folder}/o", f"s3://{writing.bucket}/flights/daily/o")
