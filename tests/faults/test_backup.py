"""A backup of a server that goes on, and what is made of it: everything that was acknowledged before it, and nothing that is half."""

import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import threading
import time

import pytest

from conftest import running
from serving import Faulty
from wire import Call

KEYS = 40


def body(key: str, version: int) -> bytes:
    """What a key holds in a version, small ones in the index and large ones in files."""
    seed = hashlib.sha256(f"{key}/{version}".encode()).digest()
    return seed + random.Random(seed).randbytes(version % 5 * 30_000) + seed


@pytest.fixture(scope="module")
def busy(setup, tmp_path_factory):
    """A server with objects, an upload in parts, leases, and one that was ended."""
    with running(Faulty(setup, tmp_path_factory.mktemp("backup"))) as server:
        yield server


@pytest.fixture(scope="module")
def saved(busy, tmp_path_factory):
    """A backup that was made while objects were written, replaced and deleted."""
    caller = busy.caller()
    lease, ended = busy.vend(caller), busy.vend(caller)
    ended.revoke()
    s3 = lease.boto3()
    for key in range(KEYS):
        s3.put_object(Bucket="lake", Key=f"k{key}", Body=body(f"k{key}", 1))
    kept = s3.create_multipart_upload(Bucket="lake", Key="parts")["UploadId"]
    s3.upload_part(Bucket="lake", Key="parts", UploadId=kept, PartNumber=1, Body=body("parts", 3))
    over, versions = threading.Event(), [1] * KEYS

    def churn():
        own, chance = lease.boto3(), random.Random(1)
        while not over.is_set():
            key = chance.randrange(KEYS)
            own.put_object(Bucket="lake", Key=f"k{key}", Body=body(f"k{key}", versions[key] + 1))
            versions[key] += 1

    threads = [threading.Thread(target=churn)]
    for thread in threads:
        thread.start()
    target = tmp_path_factory.mktemp("saved") / "dir"
    try:
        least = list(versions)
        done = busy.offline("backup", str(target))
        most = [version + 1 for version in versions]
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    assert done.returncode == 0, done
    shutil.copy2(busy.data / "keyring", target.parent / "keyring")
    return target, json.loads(done.stdout), (lease, ended, caller, kept, least, most)


@pytest.fixture
def fresh(busy, tmp_path):
    """The same server on an empty data directory with its keyring; afterwards on its own again."""
    own = busy.data
    busy.stop()
    busy.data = tmp_path / "fresh"
    busy.data.mkdir(mode=0o700)
    yield busy
    if busy.process.poll() is None:
        busy.stop()
    busy.data = own
    busy.start()


def with_keyring(server, target) -> None:
    shutil.copy2(target.parent / "keyring", server.data / "keyring")


class TestABackup:
    def test_has_no_keyring_and_is_its_owners_alone(self, busy, saved):
        target, report, _ = saved
        names = [path.name for path in target.rglob("*")]
        assert "keyring" not in names and report["files"] > KEYS / 2
        for path in [target, *target.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        key = (target.parent / "keyring").read_text().splitlines()[-1].split(":")[1].encode()
        assert all(key not in path.read_bytes() for path in target.rglob("*") if path.is_file())

    def test_leaves_nothing_behind_in_the_data_directory(self, busy, saved):
        assert list(busy.data.rglob("backup-links")) == []

    def test_that_was_killed_leaves_nothing_that_the_next_one_does_not_remove(self, busy, saved, tmp_path):
        (busy.data / "objects" / "files" / "backup-links" / "0011223344556677" / "00").mkdir(parents=True)
        done = busy.offline("backup", str(tmp_path / "next"))
        assert done.returncode == 0, done
        assert list(busy.data.rglob("backup-links")) == []

    def test_that_is_interrupted_leaves_nothing(self, busy, saved, tmp_path):
        target = tmp_path / "interrupted"
        command = [busy.binary, "server", "backup", str(target), "--data-dir", str(busy.data)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | busy.settings) as process:
            while not target.exists() and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        # A small one may be whole before the signal comes.
        assert (process.returncode == 0) == (target / "manifest").exists()
        assert target.exists() == (process.returncode == 0)
        assert list(busy.data.rglob("backup-links")) == []

    def test_is_written_only_to_an_empty_directory(self, busy, saved, tmp_path):
        (tmp_path / "mine").write_text("precious")
        refused = busy.offline("backup", str(tmp_path))
        assert refused.returncode == 1 and "not empty" in refused.stderr, refused
        assert (tmp_path / "mine").read_text() == "precious"

    def test_that_found_no_room_is_gone(self, busy, saved, tmp_path):
        short = tmp_path / "file"
        short.write_text("")
        refused = busy.offline("backup", str(short / "below"))
        assert refused.returncode == 1 and "cannot be made" in refused.stderr, refused


class TestARestore:
    def test_brings_everything_back(self, fresh, saved):
        target, report, (lease, ended, caller, kept, least, most) = saved
        with_keyring(fresh, target)
        done = fresh.offline("restore", str(target))
        assert done.returncode == 0, done
        assert sorted(path.name for path in fresh.data.iterdir()) >= ["keyring", "objects"]
        fresh.start()
        verified = fresh.call("GET", f"/api/v1/ledger/verify?expect_head={report['head']}", fresh.admin_token).json()
        assert verified["intact"] and verified["expected"] in ("head", "grown"), verified
        assert Call(fresh.at(ended), query={"list-type": "2"}).send().status in (400, 403), "it stays ended"
        s3 = fresh.at(lease).boto3()
        for key in range(KEYS):
            found = s3.get_object(Bucket="lake", Key=f"k{key}")["Body"].read()
            version = [v for v in range(least[key], most[key] + 1) if body(f"k{key}", v) == found]
            assert version, f"k{key} is none of what was written around then"
        part = s3.list_parts(Bucket="lake", Key="parts", UploadId=kept)["Parts"][0]
        whole = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket="lake", Key="parts", UploadId=kept, MultipartUpload=whole)
        assert s3.get_object(Bucket="lake", Key="parts")["Body"].read() == body("parts", 3)
        record = fresh.call("GET", f"/api/v1/leases/{lease.id}", fresh.admin_token)
        assert record.status == 200 and record.json()["caller_name"] == caller.name
        s3.put_object(Bucket="lake", Key="new", Body=b"new")
        fresh.vend(caller)

    def test_needs_the_keyring_first(self, fresh, saved):
        refused = fresh.offline("restore", str(saved[0]))
        assert refused.returncode == 1 and "keyring" in refused.stderr and "put back" in refused.stderr, refused
        assert [path.name for path in fresh.data.iterdir()] == ["server.lock"]

    def test_with_a_foreign_keyring_is_refused(self, fresh, saved, tmp_path):
        own, fresh.data = fresh.data, tmp_path / "other"
        assert fresh.offline("init").returncode == 0
        fresh.data = own
        shutil.copy2(tmp_path / "other" / "keyring", fresh.data / "keyring")
        refused = fresh.offline("restore", str(saved[0]))
        assert refused.returncode == 1 and "keyring is not the one" in refused.stderr, refused
        assert not (fresh.data / "valetkey.db").exists()

    def test_goes_to_an_empty_directory_only(self, busy, saved):
        refused = busy.offline("restore", str(saved[0]))
        assert refused.returncode == 1 and "another server runs" in refused.stderr, refused

    def test_over_what_is_there_is_refused(self, fresh, saved):
        with_keyring(fresh, saved[0])
        (fresh.data / "valetkey.db").write_bytes(b"precious")
        refused = fresh.offline("restore", str(saved[0]))
        assert refused.returncode == 1 and "valetkey.db" in refused.stderr, refused
        assert (fresh.data / "valetkey.db").read_bytes() == b"precious"

    def test_that_was_killed_while_it_put_things_in_place_is_done_again(self, fresh, saved):
        with_keyring(fresh, saved[0])
        assert fresh.offline("restore", str(saved[0])).returncode == 0
        # The database comes last: it is not there yet.
        (fresh.data / "restoring-placed").mkdir()
        (fresh.data / "valetkey.db").rename(fresh.data / "restoring-placed" / "valetkey.db")
        for path in fresh.data.glob("valetkey.db-*"):
            path.unlink()
        refused = fresh.offline("init")
        assert refused.returncode == 1 and "broken off" in refused.stderr, refused
        done = fresh.offline("restore", str(saved[0]))
        assert done.returncode == 0, done
        assert not list(fresh.data.glob("restoring*"))
        fresh.start()
        assert fresh.call("GET", "/api/v1/ledger/verify", fresh.admin_token).json()["intact"]

    @pytest.mark.parametrize("what", ["flipped", "cut", "longer", "pipe", "gone", "listed", "unlisted", "broken-off"])
    def test_of_what_was_changed_is_refused_by_its_name(self, fresh, saved, tmp_path, what):
        target = tmp_path / "changed"
        shutil.copytree(saved[0], target)
        with_keyring(fresh, saved[0])
        victim = max((target / "objects" / "files").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
        manifest = target / "manifest"
        match what:
            case "flipped":
                data = bytearray(victim.read_bytes())
                data[100] ^= 1
                victim.write_bytes(data)
            case "cut":
                victim.write_bytes(victim.read_bytes()[:-1])
            case "longer":
                with victim.open("ab") as file:
                    file.truncate(1 << 40)
            case "pipe":
                victim.unlink()
                os.mkfifo(victim)
            case "gone":
                victim.unlink()
            case "listed":
                lines = manifest.read_text().splitlines(keepends=True)
                victim = manifest
                manifest.write_text("".join(line for line in lines if "files" not in line))
            case "unlisted":
                manifest.write_text(manifest.read_text()[:-20])
                victim = manifest
            case "broken-off":
                manifest.unlink()
                victim = manifest
        refused = fresh.offline("restore", str(target))
        assert refused.returncode == 1 and victim.name in refused.stderr, refused
        assert sorted(path.name for path in fresh.data.iterdir()) == ["keyring", "server.lock"]
