"""What every client must experience. A client's test class takes those parts that the client has operations for."""

import hashlib
import os
import re
from typing import NamedTuple

import pytest
from botocore.exceptions import ClientError

from harness import FLIGHTS, MIB, Lease, demo_bytes, demo_keys

PART = 5 * MIB
SIBLING = "flights/daily-secret/"


class Refusal(NamedTuple):
    """How a client says that it was refused: the type of its error and what the text must contain."""

    error: type[BaseException]
    text: str

    def __call__(self):
        return pytest.raises(self.error, match=self.text)


class Client:
    """A client opened with a lease. Subclasses add read, list, write …, and the refusals below."""

    denied: Refusal
    absent: Refusal
    expired: Refusal
    hidden: Refusal | None = None  # where a client looks before it deletes, and takes a refused look for absence

    def __init__(self, lease: Lease, scratch):
        self.lease, self.scratch = lease, scratch

    def close(self) -> None:
        pass

    @staticmethod
    def decode(data: bytes):
        """An object's bytes as `read` returns them and `write` takes them."""
        return data


class Reads:
    """read(key), list(prefix)"""

    def test_reads_inside(self, use, reading):
        client = use(reading)
        for key in sorted(demo_keys(reading.bucket, reading.prefix)):
            assert client.read(reading.bucket, key) == client.decode(demo_bytes(reading.bucket, key))

    def test_reads_own_account_only(self, use, vend, stranger):
        client = use(vend(stranger))
        (key,) = demo_keys(stranger.bucket, stranger.prefix)
        assert client.read(stranger.bucket, key) == client.decode(demo_bytes(stranger.bucket, key))
        with client.denied():
            client.read("flights-lake", FLIGHTS)

    def test_is_refused_outside(self, use, reading, server):
        client = use(reading)
        assert any(bucket != reading.bucket for bucket, _ in server.forbidden)
        assert any(key.startswith(SIBLING) for _, key in server.forbidden)
        for bucket, key in server.forbidden:
            with client.denied():
                client.read(bucket, key)

    def test_misses_inside(self, use, reading):
        client = use(reading)
        with client.absent():
            client.read(reading.bucket, f"{reading.prefix}/2012-12-31.parquet")


class Lists:
    """list(bucket, prefix) gives the keys below a folder"""

    def test_lists_inside(self, use, reading):
        assert set(use(reading).list(reading.bucket, f"{reading.prefix}/")) == demo_keys(reading.bucket, reading.prefix)

    @pytest.mark.parametrize("prefix", [SIBLING, "flights/", ""], ids=["sibling", "parent", "root"])
    def test_lists_nothing_outside(self, use, reading, prefix):
        client = use(reading)
        with client.denied():
            client.list(reading.bucket, prefix)


class ListsByText:
    """A client that sends any text as the prefix: `flights/daily` also begins `flights/daily-secret/`."""

    def test_filters_the_sibling(self, use, reading):
        assert set(use(reading).list(reading.bucket, reading.prefix)) == demo_keys(reading.bucket, reading.prefix)


class Ranges:
    """read_range(bucket, key, start, length)"""

    def test_reads_a_range(self, use, reading):
        whole = demo_bytes(reading.bucket, FLIGHTS)
        assert use(reading).read_range(reading.bucket, FLIGHTS, 1000, 500) == whole[1000:1500]

    def test_is_refused_a_range_outside(self, use, reading, server):
        client = use(reading)
        with client.denied():
            client.read_range(*server.forbidden[0], 0, 4)


class Writes:
    """write(bucket, key, content)"""

    def test_writes_inside(self, use, writing, folder):
        key = f"{folder}/small.parquet"
        data = demo_bytes("flights-lake", FLIGHTS)
        client = use(writing)
        client.write(writing.bucket, key, client.decode(data))
        assert client.decode(writing.get(key)) == client.decode(data)
        assert client.read(writing.bucket, key) == client.decode(data)
        assert writing.keys(f"{folder}/") == {key}

    def test_writes_nothing_outside(self, use, writing, reading, stranger):
        client = use(writing)
        content = client.decode(demo_bytes("flights-lake", FLIGHTS))
        for bucket, key in [
            (reading.bucket, f"{reading.prefix}/new.parquet"),
            (stranger.bucket, f"{stranger.prefix}/new.parquet"),
        ]:
            with client.denied():
                client.write(bucket, key, content)
        assert reading.keys(f"{reading.prefix}/") == demo_keys(reading.bucket, reading.prefix)

    def test_writes_nothing_with_a_reading_key(self, use, reading):
        client = use(reading)
        with client.denied():
            client.write(reading.bucket, FLIGHTS, client.decode(demo_bytes("flights-lake", FLIGHTS)))
        assert reading.get(FLIGHTS) == demo_bytes("flights-lake", FLIGHTS)


class WritesInParts:
    """write_parts(bucket, key, data) uploads in parts of five MiB or a few more"""

    def test_writes_in_parts(self, use, writing, folder):
        key, data = f"{folder}/large", os.urandom(2 * PART + 12345)
        use(writing).write_parts(writing.bucket, key, data)
        got = writing.boto3().get_object(Bucket=writing.bucket, Key=key)
        assert re.fullmatch(r'"[0-9a-f]{32}-[23]"', got["ETag"])  # as S3 marks what came in parts
        assert got["ContentLength"] == len(data)
        assert hashlib.sha256(got["Body"].read()).digest() == hashlib.sha256(data).digest()

    def test_writes_no_parts_outside(self, use, writing, reading):
        client = use(writing)
        with client.denied():
            client.write_parts(reading.bucket, f"{reading.prefix}/large", bytes(2 * PART))
        assert reading.keys(f"{reading.prefix}/") == demo_keys(reading.bucket, reading.prefix)


class Copies:
    """copy(bucket, source, target) on the server"""

    def test_copies_inside(self, use, writing, folder):
        source, target, data = f"{folder}/source", f"{folder}/target", os.urandom(1000)
        writing.boto3().put_object(Bucket=writing.bucket, Key=source, Body=data)
        use(writing).copy(writing.bucket, source, target)
        assert writing.get(target) == writing.get(source) == data

    def test_copies_nothing_from_outside(self, use, writing, server, folder):
        client = use(writing)
        bucket, key = next(entry for entry in server.forbidden if entry[0] == writing.bucket)
        with client.denied():
            client.copy(bucket, key, f"{folder}/stolen")
        assert writing.keys(f"{folder}/") == set()

    def test_copies_nothing_to_outside(self, use, writing, reading, folder):
        client = use(writing)
        writing.boto3().put_object(Bucket=writing.bucket, Key=f"{folder}/source", Body=b"x")
        with client.denied():
            client.copy(writing.bucket, f"{folder}/source", f"{reading.prefix}/new.parquet")


class Deletes:
    """delete(bucket, key)"""

    def test_deletes_inside(self, use, writing, folder):
        for name in ("kept", "gone"):
            writing.boto3().put_object(Bucket=writing.bucket, Key=f"{folder}/{name}", Body=b"x")
        use(writing).delete(writing.bucket, f"{folder}/gone")
        assert f"{folder}/kept" in writing.keys(f"{folder}/")
        with pytest.raises(ClientError, match="NoSuchKey"):
            writing.get(f"{folder}/gone")

    def test_deletes_nothing_outside(self, use, writing, reading):
        client = use(writing)
        with (client.hidden or client.denied)():
            client.delete(reading.bucket, FLIGHTS)
        assert reading.get(FLIGHTS) == demo_bytes(reading.bucket, FLIGHTS)

    def test_deletes_nothing_with_a_reading_key(self, use, reading):
        client = use(reading)
        with client.denied():
            client.delete(reading.bucket, FLIGHTS)
        assert reading.get(FLIGHTS) == demo_bytes(reading.bucket, FLIGHTS)


class Ends:
    """A key ends when it expires and when it is revoked."""

    def test_is_refused_when_expired(self, use, expired):
        client = use(expired)
        with client.expired():
            client.read(expired.bucket, FLIGHTS)

    def test_is_refused_when_revoked(self, use, vend, reader):
        lease = vend(reader)
        client = use(lease)
        assert client.read(lease.bucket, FLIGHTS) == client.decode(demo_bytes(lease.bucket, FLIGHTS))
        lease.revoke()
        with client.expired():
            client.read(lease.bucket, FLIGHTS)


class Whole(Reads, Lists, Ranges, Writes, WritesInParts, Copies, Deletes, Ends):
    """A client that has every operation."""
