"""Disks that are full and syncs that fail: nothing acknowledged is lost, what was ended stays so, and all is well again by itself."""

import errno
import os

import pytest

from conftest import running
from faults import SmallDisk, ToldDisk, until
from harness import MIB
from serving import Faulty, outcome

# What says "not now, come again": never a failure of ours (500), and never for good.
NOT_NOW = (503, 507)


def not_now(answer: tuple[int, str | None, str | None]) -> None:
    status, _, after = answer
    assert status in NOT_NOW and after and int(after) >= 1, answer


def works(server: Faulty, caller, name: str) -> None:
    """Everything that writes does."""
    lease = server.vend(caller)
    s3 = lease.boto3()
    large = os.urandom(MIB)
    for key, body in ((f"{name}/small", b"small"), (f"{name}/large", large)):
        s3.put_object(Bucket="lake", Key=key, Body=body)
        assert s3.get_object(Bucket="lake", Key=key)["Body"].read() == body
        s3.delete_object(Bucket="lake", Key=key)
    lease.revoke()
    assert outcome(s3.list_objects_v2, Bucket="lake")[:2] == (400, "ExpiredToken")
    assert server.ready_status() == 200


def sync_error(faults):
    faults.sync_errno = errno.EIO


def write_error(faults):
    faults.write_errno = errno.EIO


def no_room(faults):
    faults.write_errno = errno.ENOSPC


FAULTS = {"sync-error": sync_error, "write-error": write_error, "no-room": no_room}
# Of which files: all of them; the ledger's; the index of objects; the objects' own.
PLACES = {"all": "", "ledger": "valetkey.db", "index": "objects/index.sqlite", "objects": "objects/files/"}


class TestAWriteThatFails:
    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize("fault", FAULTS)
    def test_is_told_and_over_with_its_cause(self, server, fault, place):
        caller = server.caller()
        s3 = server.vend(caller).boto3()
        s3.put_object(Bucket="lake", Key="kept", Body=b"kept")
        server.faults.only(PLACES[place])
        before = server.faults.failed_writes + server.faults.failed_syncs
        FAULTS[fault](server.faults)
        body = os.urandom(MIB)
        for _ in range(3):
            if place != "ledger":
                not_now(outcome(s3.put_object, Bucket="lake", Key="lost", Body=body))
            if place in ("all", "ledger"):
                answer = server.ask(caller)
                assert answer.status == 503 and answer.headers.get("retry-after"), answer
        assert server.faults.failed_writes + server.faults.failed_syncs > before, "the fault was not met"
        if place != "objects":
            until(lambda: server.ready_status() == 503)
        assert s3.get_object(Bucket="lake", Key="kept")["Body"].read() == b"kept"
        server.faults.mend()
        # The first one after it may find the failed connection, and nobody may find it twice.
        until(lambda: server.ready_status() == 200, 5)
        works(server, caller, f"after-{fault}-{place}")
        assert outcome(s3.head_object, Bucket="lake", Key="lost")[0] == 404


@pytest.fixture(scope="module")
def small(request, setup, tmp_path_factory):
    """A server on a disk that can be filled, and that disk."""
    directory = tmp_path_factory.mktemp("small")
    settings = {"VALETKEY_S3__MIN_FREE_BYTES": str(8 * MIB)}
    if request.param == "told":
        with running(Faulty(setup, directory, settings)) as server:
            yield server, ToldDisk(server.faults)
        return
    disk = SmallDisk(directory / "data", 64)
    try:
        with running(Faulty(setup, directory, settings)) as server:
            yield server, disk
    finally:
        disk.unmount()
