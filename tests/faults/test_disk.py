"""Disks that are full and syncs that fail: nothing acknowledged is lost, what was ended stays so, and all is well again by itself."""

import errno
import os
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

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


class TestEnding:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_counts_though_it_cannot_be_written_and_is_written_later(self, server, fault):
        caller = server.caller()
        lease, other = server.vend(caller), server.vend(caller)
        lease.boto3().put_object(Bucket="lake", Key="x", Body=b"x")
        FAULTS[fault](server.faults)
        said = server.call("DELETE", f"/api/v1/leases/{lease.id}", server.admin_token)
        assert said.status == 503 and said.headers.get("retry-after"), said
        assert b"tried again" in said.body, said
        assert outcome(lease.boto3().get_object, Bucket="lake", Key="x")[:2] == (400, "ExpiredToken")
        assert outcome(other.boto3().get_object, Bucket="lake", Key="x")[0] == 200
        server.faults.mend()
        # Without being asked again.
        until(lambda: server.call("GET", f"/api/v1/leases/{lease.id}", server.admin_token).json()["state"] == "revoked")
        server.kill()
        server.start()
        assert outcome(server.at(lease).boto3().get_object, Bucket="lake", Key="x")[:2] == (400, "ExpiredToken")
        assert outcome(server.at(other).boto3().get_object, Bucket="lake", Key="x")[0] == 200

    @pytest.mark.parametrize("what", ["token", "caller", "account", "grant"])
    def test_of_more_than_one_does_too(self, server, what):
        caller = server.caller()
        lease = server.vend(caller)
        record = server.call("GET", f"/api/v1/leases/{lease.id}", server.admin_token).json()
        named = {
            "token": record.get("token_id") or record.get("token"),
            "caller": f"{caller.account}/{caller.name}",
            "account": caller.account,
            "grant": server.call("GET", f"/api/v1/grants?account={caller.account}", server.admin_token).json()["grants"][0]["id"],
        }[what]
        no_room(server.faults)
        said = server.call("POST", "/api/v1/revocations", server.admin_token, {what: named})
        assert said.status == 503 and b"tried again" in said.body, said
        assert outcome(lease.boto3().list_objects_v2, Bucket="lake")[:2] == (400, "ExpiredToken")
        server.faults.mend()
        until(lambda: server.call("GET", f"/api/v1/leases/{lease.id}", server.admin_token).json()["state"] == "revoked")


# The commands that end what a caller has, each as an operator says it who knows nothing of the disk.
COMMANDS = {
    "incident-of-a-token": lambda caller, lease: (["incident", "-"], caller.token),
    "incident-of-a-key": lambda caller, lease: (["incident", "-"], lease.access_key_id),
    "grant-rm": lambda caller, lease: (["grant", "rm", f"{caller.account}/{caller.name.replace('caller', 'grant')}", "--yes"], None),
    "grant-narrowed": lambda caller, lease: (
        ["grant", "set", f"{caller.account}/{caller.name.replace('caller', 'grant')}", "--access", "read"], None),
    "token-revoke": lambda caller, lease: (["token", "revoke", "-", "--with-made"], caller.token),
    "token-revoke-of-a-caller": lambda caller, lease: (["token", "revoke", "--caller", f"{caller.account}/{caller.name}"], None),
    "caller-suspend": lambda caller, lease: (["caller", "suspend", f"{caller.account}/{caller.name}"], None),
    "caller-rm": lambda caller, lease: (["caller", "rm", f"{caller.account}/{caller.name}", "--yes"], None),
    "account-suspend": lambda caller, lease: (["account", "suspend", caller.account], None),
    "account-rm": lambda caller, lease: (["account", "rm", caller.account, "--cascade", "--yes"], None),
}


# What else a change says that suspends: the end comes first, whatever else cannot be written.
WITH_MORE = {
    "caller": lambda caller: (f"accounts/{caller.account}/callers/{caller.name}", {"name": f"{caller.name}-late", "role": "admin"}),
    "account": lambda caller: (
        f"accounts/{caller.account}", {"name": f"{caller.account}-late", "max_bytes": 5, "datasets_bucket": "lake"}),
}


class TestACommandThatEnds:
    @pytest.mark.parametrize("what", WITH_MORE)
    def test_ends_also_with_something_else_in_the_same_request(self, server, what):
        caller = server.caller()
        lease = server.vend(caller)
        path, more = WITH_MORE[what](caller)
        no_room(server.faults)
        said = server.call("PATCH", f"/api/v1/{path}", server.admin_token, {"standing": "suspended", **more})
        assert said.status == 503 and b"not on record yet" in said.body, said
        assert outcome(lease.boto3().list_objects_v2, Bucket="lake")[:2] == (400, "ExpiredToken")
        server.faults.mend()
        assert server.ask(caller).status in (401, 403, 404, 503)
        state = lambda: server.call("GET", f"/api/v1/leases/{lease.id}", server.admin_token).json()["state"]
        until(lambda: server.ready_status() == 200 and state() == "revoked")
        listed, name = {
            "account": ("accounts", caller.account), "caller": (f"accounts/{caller.account}/callers", caller.name)}[what]
        rows = lambda: server.call("GET", f"/api/v1/{listed}", server.admin_token).json()[listed.split("/")[-1]]
        # A new name is tried again, too.
        names = (name, f"{name}-late")
        until(lambda: [row["standing"] for row in rows() if row["name"] in names] == ["suspended"])
        server.kill()
        server.start()
        assert server.ask(caller).status in (401, 403, 404)

    def test_ends_the_links_that_a_token_made(self, server):
        admin = server.make("tokens", account=server.caller().account, caller="linking", role="admin")
        server.secrets.add(admin["token"])
        made = [server.call("POST", "/api/v1/share-links", admin["token"], {"caller": f"reader-{n}"}) for n in range(2)]
        paths = [urllib.parse.urlsplit(one.json()["url"]).path for one in made]
        no_room(server.faults)
        done = server.cli("incident", "-", data=admin["token"])
        assert done.returncode != 0 and "not on record yet" in done.stderr, done
        assert server.call("GET", paths[0]).status != 200
        server.faults.mend()
        until(lambda: server.ready_status() == 200)
        assert server.call("GET", paths[0]).status == 404
        server.kill()
        server.start()
        assert server.call("GET", paths[1]).status == 404

    @pytest.mark.parametrize("command", COMMANDS)
    def test_holds_on_a_full_disk_and_after_it(self, server, command):
        caller = server.caller()
        lease, other = server.vend(caller), server.vend(server.caller())
        lease.boto3().put_object(Bucket="lake", Key="x", Body=b"x")
        said, data = COMMANDS[command](caller, lease)
        no_room(server.faults)
        done = server.cli(*said, data=data)
        assert done.returncode != 0 and "not on record yet" in done.stderr, done
        assert not any(secret in done.stdout + done.stderr for secret in server.secrets), "a secret was printed"
        assert outcome(lease.boto3().get_object, Bucket="lake", Key="x")[:2] == (400, "ExpiredToken")
        assert outcome(other.boto3().list_objects_v2, Bucket="lake")[0] == 200
        server.faults.mend()
        # Also before it is on record.
        refused = (200,) if command == "incident-of-a-key" else (401, 403, 404)
        assert server.ask(caller).status in (*refused, 503)
        state = lambda: server.call("GET", f"/api/v1/leases/{lease.id}", server.admin_token).json()["state"]
        until(lambda: server.ready_status() == 200 and state() == "revoked")
        assert server.ask(caller).status in refused
        server.kill()
        server.start()
        assert outcome(server.at(lease).boto3().get_object, Bucket="lake", Key="x")[:2] == (400, "ExpiredToken")
        assert outcome(server.at(other).boto3().list_objects_v2, Bucket="lake")[0] == 200


class TestAHeldSync:
    """The disk answers nothing at all, for a while."""

    def test_stops_no_reader_and_loses_nobody(self, server):
        caller = server.caller()
        lease = server.vend(caller)
        s3 = lease.boto3()
        s3.put_object(Bucket="lake", Key="kept", Body=b"kept")
        server.faults.hold_syncs = 1
        try:
            with ThreadPoolExecutor(8) as pool:
                asked = [pool.submit(server.ask, caller) for _ in range(4)]
                written = [pool.submit(outcome, s3.put_object, Bucket="lake", Key=f"held/{n}", Body=bytes(MIB)) for n in range(4)]
                until(lambda: server.faults.held_syncs)
                for _ in range(20):
                    assert s3.get_object(Bucket="lake", Key="kept")["Body"].read() == b"kept"
                    assert server.call("GET", "/livez").status == 200
                    assert server.ready_status() in (200, 503)
                    assert server.call("GET", "/api/v1/me", caller.token).status == 200
                server.faults.mend()
                assert {one.result().status for one in asked} == {200}
                assert {one.result()[0] for one in written} == {200}
        finally:
            server.faults.mend()

    def test_holds_no_revocation_back_from_the_memory(self, server):
        """Who asks for an end has it before there is an answer."""
        caller = server.caller()
        lease = server.vend(caller)
        server.faults.hold_syncs = 1
        ending = threading.Thread(target=server.call, args=("DELETE", f"/api/v1/leases/{lease.id}", server.admin_token))
        ending.start()
        try:
            until(lambda: outcome(lease.boto3().list_objects_v2, Bucket="lake")[:2] == (400, "ExpiredToken"), 5)
        finally:
            server.faults.mend()
            ending.join()


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


class TestAFullDisk:
    def test_is_told_as_such_ends_no_ending_and_is_over_when_there_is_room(self, small):
        server, disk = small
        caller = server.caller()
        lease = server.vend(caller)
        s3 = lease.boto3()
        s3.put_object(Bucket="lake", Key="kept", Body=b"kept")
        s3.put_object(Bucket="lake", Key="goes", Body=bytes(MIB))
        disk.fill()
        for size in (10, MIB):
            not_now(outcome(s3.put_object, Bucket="lake", Key="lost", Body=bytes(size)))
        assert until(lambda: server.ready_status() in NOT_NOW)
        assert s3.get_object(Bucket="lake", Key="kept")["Body"].read() == b"kept"
        # The ledger may have room of its own; then it is as ever. Whatever it has, nothing is a failure of ours.
        for _ in range(300):
            assert server.ask(caller).status in (200, *NOT_NOW)
        revoked = server.call("DELETE", f"/api/v1/leases/{lease.id}", server.admin_token)
        assert revoked.status in (200, 204, *NOT_NOW), revoked
        assert outcome(s3.get_object, Bucket="lake", Key="kept")[:2] == (400, "ExpiredToken")
        disk.empty()
        until(lambda: server.ready_status() == 200)
        works(server, caller, "after")
        until(lambda: server.call("GET", f"/api/v1/leases/{lease.id}", server.admin_token).json()["state"] == "revoked")
        assert outcome(server.vend(caller).boto3().head_object, Bucket="lake", Key="lost")[0] == 404
        assert server.cli("ledger", "verify").returncode == 0


class TestAGatewaysDisk:
    """A disk behind the gateway is not the server's own: only what goes there fails."""

    @pytest.mark.parametrize("fault", ["write-error", "no-room"])
    def test_that_takes_nothing_is_told_as_such_and_is_nobody_elses(self, server, pond, fault):
        caller, other, lost = server.caller("pond"), server.caller("lake"), f"lost-{fault}"
        lease, s3 = server.vend(caller), server.vend(caller).boto3()
        s3.put_object(Bucket="pond", Key="kept", Body=b"kept")
        upload = s3.create_multipart_upload(Bucket="pond", Key=lost)["UploadId"]
        part = s3.upload_part(Bucket="pond", Key=lost, UploadId=upload, PartNumber=1, Body=bytes(MIB))["ETag"]
        server.faults.at(pond.parent)

        def refused(answer):
            """One that is full says so; one that fails is a storage behind the gateway that failed."""
            if fault == "no-room":
                not_now(answer)
            else:
                assert answer[0] in (502, 503) and answer[2], answer

        try:
            before = server.faults.failed_writes
            FAULTS[fault](server.faults)
            for size in (10, MIB, 9 * MIB):
                refused(outcome(s3.put_object, Bucket="pond", Key=lost, Body=bytes(size)))
            refused(outcome(s3.copy_object, Bucket="pond", Key=lost, CopySource="pond/kept"))
            done = {"Parts": [{"PartNumber": 1, "ETag": part}]}
            refused(outcome(s3.complete_multipart_upload, Bucket="pond", Key=lost, UploadId=upload, MultipartUpload=done))
            assert server.faults.failed_writes > before, "the fault was not met"
            assert s3.get_object(Bucket="pond", Key="kept")["Body"].read() == b"kept"
            assert outcome(s3.head_object, Bucket="pond", Key=lost)[0] == 404
            assert server.ready_status() == 200
            works(server, other, "beside")
            lease.revoke()
            assert outcome(lease.boto3().list_objects_v2, Bucket="pond")[:2] == (400, "ExpiredToken")
        finally:
            server.faults.mend()
            server.faults.at(server.data)
        # It is tried again, with the same parts.
        s3.complete_multipart_upload(Bucket="pond", Key=lost, UploadId=upload, MultipartUpload=done)
        assert s3.get_object(Bucket="pond", Key=lost)["Body"].read() == bytes(MIB)
        s3.put_object(Bucket="pond", Key="after", Body=bytes(9 * MIB))
        assert s3.get_object(Bucket="pond", Key="after")["Body"].read() == bytes(9 * MIB)


class TestTheLowWaterMark:
    def test_stops_writes_and_nothing_else(self, server):
        """More has to stay free than any disk has: everything that takes room is refused, what gives room back goes on."""
        caller = server.caller()
        before = server.vend(caller).boto3()
        for number in range(3):
            before.put_object(Bucket="lake", Key=f"low/{number}", Body=bytes(MIB))
        upload = before.create_multipart_upload(Bucket="lake", Key="low/parts")["UploadId"]
        server.settings["VALETKEY_S3__MIN_FREE_BYTES"] = str(1 << 60)
        try:
            server.restart()
            lease = server.vend(caller)
            s3, lake = lease.boto3(), {"Bucket": "lake"}
            not_now(outcome(s3.put_object, **lake, Key="low/new", Body=bytes(MIB)))
            not_now(outcome(s3.put_object, **lake, Key="low/new", Body=b"little"))
            not_now(outcome(s3.copy_object, **lake, Key="low/copy", CopySource="lake/low/0"))
            part = {"Key": "low/parts", "UploadId": upload, "PartNumber": 1}
            not_now(outcome(s3.upload_part, **lake, **part, Body=bytes(MIB)))
            assert outcome(s3.put_object, **lake, Key="low/new", Body=bytes(MIB))[1] == "ServiceUnavailable"
            assert outcome(s3.get_object, **lake, Key="low/0")[0] == 200
            assert outcome(s3.delete_object, **lake, Key="low/0")[0] == 204
            several = {"Objects": [{"Key": "low/1"}, {"Key": "low/2"}]}
            assert outcome(s3.delete_objects, **lake, Delete=several)[0] == 200
            assert outcome(s3.abort_multipart_upload, **lake, Key="low/parts", UploadId=upload)[0] == 204
            assert outcome(s3.list_objects_v2, **lake, Prefix="low/")[0] == 200
            lease.revoke()
            assert outcome(s3.list_objects_v2, **lake)[:2] == (400, "ExpiredToken")
        finally:
            del server.settings["VALETKEY_S3__MIN_FREE_BYTES"]
            server.restart()
        works(server, caller, "after-low")


class TestALedgerThatIsBehind:
    def test_hands_out_nothing_more_once_its_disk_fails_and_answers_questions_with_an_error(self, setup, tmp_path):
        with running(Faulty(setup, tmp_path, {"VALETKEY_LEDGER__MODE": "behind"})) as server:
            caller = server.caller()
            lease = server.vend(caller)
            server.faults.sync_errno = server.faults.write_errno = errno.EIO
            answer = until(lambda: (answer := server.ask(caller)).status != 200 and answer, 2)
            assert answer.status == 503 and answer.headers.get("retry-after"), answer
            handed = [answer for answer in (server.ask(caller) for _ in range(100)) if answer.status == 200]
            assert handed == []
            # A question about what is not written cannot be answered, and does not hang.
            for path in ("/api/v1/leases", f"/api/v1/whose/{lease.access_key_id}"):
                assert server.call("GET", path, server.admin_token).status in (200, 503)
            server.faults.mend()
            until(lambda: server.ask(caller).status == 200)
