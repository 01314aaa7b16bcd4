"""The process dies, at any moment: what was acknowledged is there, and what was ended stays so."""

import contextlib
import itertools
import random
import threading

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from faults import until
from harness import MIB
from wire import Call

_numbers = itertools.count()


class Busy:
    """Workers that vend, write, delete and end, and note what they were told is done."""

    def __init__(self, server, caller):
        self.server, self.caller = server, caller
        self.lease = server.vend(caller)
        self.vended, self.ended, self.unsure = {self.lease.id: self.lease}, set(), set()
        self.written, self.deleted = {}, set()
        self.acknowledged, self.more = 0, threading.Condition()
        self.threads = [threading.Thread(target=self.work, args=(what,)) for what in (self.vend, self.vend, self.write, self.write, self.end)]
        for thread in self.threads:
            thread.start()

    def work(self, what) -> None:
        with contextlib.suppress(OSError, BotoCoreError, ClientError, AssertionError, ValueError):
            for _ in what():
                with self.more:
                    self.acknowledged += 1
                    self.more.notify()

    def wait(self, count: int) -> None:
        with self.more:
            assert self.more.wait_for(lambda: self.acknowledged >= count, 60), self.acknowledged

    def vend(self):
        while True:
            lease = self.server.vend(self.caller)
            self.vended[lease.id] = lease
            yield

    def write(self):
        s3 = self.lease.boto3(connect_timeout=2, read_timeout=5)
        while True:
            number = next(_numbers)
            key, body = f"kill/{number}", random.Random(number).randbytes(number % 7 * 20_000 + 1)
            s3.put_object(Bucket="lake", Key=key, Body=body)
            self.written[key] = body
            yield
            if number % 3 == 0:
                del self.written[key]
                s3.delete_object(Bucket="lake", Key=key)
                self.deleted.add(key)
                yield

    def end(self):
        while True:
            lease = self.server.vend(self.caller)
            self.unsure.add(lease.id)
            lease.revoke()
            self.ended.add(lease.id)
            self.vended[lease.id] = lease
            yield

    def over(self) -> None:
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


def check(server, busy: Busy) -> None:
    assert server.ready_status() == 200
    for identifier, lease in busy.vended.items():
        record = server.call("GET", f"/api/v1/leases/{identifier}", server.admin_token)
        assert record.status == 200, f"{identifier} was handed out without a record"
        outcome = Call(server.at(lease), query={"list-type": "2", "prefix": "kill/"}).send().outcome
        assert outcome == ((400, "ExpiredToken") if identifier in busy.ended else (200, None)), identifier
    lease = server.at(busy.lease)
    for key, body in busy.written.items():
        reply = Call(lease, key=key).send()
        assert (reply.status, reply.body) == (200, body), key
    for key in busy.deleted:
        assert Call(lease, key=key).send().outcome == (404, "NoSuchKey"), key
    verified = server.cli("ledger", "verify")
    assert verified.returncode == 0, verified


@pytest.mark.parametrize("round", range(4))
def test_a_kill_at_any_moment_loses_nothing_acknowledged(server, round):
    busy = Busy(server, server.caller())
    busy.wait(random.Random(round).randrange(5, 120))
    server.kill()
    busy.over()
    server.start()
    check(server, busy)


@pytest.mark.parametrize("sync", [1, 2, 3, 5, 8, 13, 21, 34])
def test_nor_does_a_kill_just_before_a_sync(server, sync):
    busy = Busy(server, server.caller())
    busy.wait(5)
    server.faults.kill_at_sync = sync
    server.process.wait(60)
    server.process.stdout.close()
    busy.over()
    server.start()
    check(server, busy)


def test_a_kill_after_the_disk_failed_loses_nothing_either(server):
    """What was refused may be there or not; what was acknowledged before and after is there."""
    busy = Busy(server, server.caller())
    busy.wait(20)
    server.faults.sync_errno = 5
    until(lambda: server.faults.failed_syncs)
    busy.over()
    server.kill()
    server.faults.mend()
    server.start()
    check(server, busy)


def test_what_a_killed_server_left_half_written_is_swept(server, pond):
    lease = server.vend(server.caller("pond"))
    before = set(pond.rglob("*"))
    size = 12 * MIB
    with contextlib.closing(Call(lease, "PUT", "half", payload="UNSIGNED-PAYLOAD", extra={"content-length": str(size)}).begin()) as sender:
        sender.send(bytes(size - 1))
        until(lambda: {path for path in pond.rglob("*") if path.is_file()} - before)
        server.kill()
    server.start()
    assert Call(server.at(lease), key="half").send().outcome == (404, "NoSuchKey")
    until(lambda: not {path for path in pond.rglob("*") if path.is_file()} - before)
