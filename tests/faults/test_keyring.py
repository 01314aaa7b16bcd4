"""A keyring that is lost, another's, or everybody's; and commands on a directory that is in use."""

import json
import shutil
import signal

import pytest

from conftest import running
from faults import until
from serving import Faulty
from wire import Call


@pytest.fixture(scope="module")
def own(setup, tmp_path_factory):
    with running(Faulty(setup, tmp_path_factory.mktemp("keyring"))) as server:
        yield server


@pytest.fixture
def stopped(own, tmp_path):
    """The server, not running, with a copy of its keyring; it has to run again with that one."""
    lease = own.vend(own.caller())
    own.stop()
    keyring = own.data / "keyring"
    shutil.copy2(keyring, tmp_path / "backup")
    yield own
    shutil.copy2(tmp_path / "backup", keyring)
    own.data.chmod(0o700)
    own.start()
    assert Call(own.at(lease), query={"list-type": "2"}).send().status == 200


class TestAMissingKeyring:
    def test_is_not_replaced(self, stopped):
        keyring = stopped.data / "keyring"
        keyring.unlink()
        said = stopped.refuses_to_start()
        assert "backup" in said and "set the data directory up" not in said, said
        again = stopped.offline("init")
        assert again.returncode == 1 and "backup" in again.stderr, again
        assert not keyring.exists()

    def test_that_is_there_is_never_replaced(self, stopped):
        before = (stopped.data / "keyring").read_bytes()
        refused = stopped.offline("init", "--replace-lost-keyring", "--yes")
        assert refused.returncode == 1 and "move it away" in refused.stderr, refused
        assert (stopped.data / "keyring").read_bytes() == before

    def test_of_a_new_directory_is_made(self, stopped, tmp_path):
        data, stopped.data = stopped.data, tmp_path / "fresh"
        try:
            assert stopped.offline("init").returncode == 0
            assert (stopped.data / "keyring").exists()
        finally:
            stopped.data = data


@pytest.fixture
def foreign(own, tmp_path):
    """The keyring of another server."""
    data, own.data = own.data, tmp_path / "other"
    try:
        assert own.offline("init").returncode == 0
    finally:
        own.data = data
    return tmp_path / "other" / "keyring"


class TestAForeignKeyring:
    def test_is_not_taken(self, stopped, foreign):
        shutil.copy2(foreign, stopped.data / "keyring")
        said = stopped.refuses_to_start()
        assert "backup" in said, said

    def test_is_not_taken_while_it_runs(self, own, foreign, tmp_path):
        caller = own.caller()
        lease = own.vend(caller)
        since = own.log.stat().st_size
        shutil.copy2(own.data / "keyring", tmp_path / "backup")
        shutil.copy2(foreign, own.data / "keyring")
        try:
            own.process.send_signal(signal.SIGHUP)
            until(lambda: any("keyring" in line and '"level":"INFO"' not in line for line in own.lines(since).splitlines()))
            for one in (lease, own.vend(caller)):
                assert Call(one, query={"list-type": "2"}).send().status == 200
        finally:
            shutil.copy2(tmp_path / "backup", own.data / "keyring")
            own.process.send_signal(signal.SIGHUP)
        # What it goes on with is its own ring: nothing is sealed that it cannot open after the next start.
        own.restart()
        assert Call(own.at(lease), query={"list-type": "2"}).send().status == 200

    def test_of_another_number_neither(self, stopped):
        """As a ring that has lost its older key."""
        assert stopped.offline("rotate-keys").returncode == 0
        keyring = stopped.data / "keyring"
        lines = keyring.read_text().splitlines()
        keyring.write_text("\n".join(lines[:2]) + "\n")
        said = stopped.refuses_to_start()
        assert "backup" in said, said


class TestFilesThatOthersCanRead:
    @pytest.mark.parametrize("what", ["keyring", ""])
    def test_are_told_of(self, stopped, what):
        (stopped.data / what).chmod(0o755)
        since = stopped.log.stat().st_size
        try:
            stopped.start()
        except RuntimeError as refused:
            said = str(refused)
        else:
            stopped.stop()
            said = stopped.lines(since)
        finally:
            (stopped.data / what).chmod(0o700)
        assert any(word in said for word in ("0600", "600", "others", "chmod")), said


class TestADirectoryInUse:
    @pytest.mark.parametrize("command", ["init", "migrate"])
    def test_is_left_alone(self, own, command):
        done = own.offline(command)
        assert done.returncode == 1 and "another server runs" in done.stderr, done


class TestALostOperatorToken:
    def test_is_replaced_by_who_has_the_disk(self, own):
        own.stop()
        done = own.offline("init", "--new-operator-token")
        own.start()
        assert done.returncode == 0, done
        token = json.loads(done.stdout)["operator_token"]
        own.secrets.add(token)
        assert own.call("GET", "/api/v1/me", token).json()["role"] == "operator"
        assert own.call("GET", "/api/v1/me", own.admin_token).status == 200


class TestAKeyringLostForGood:
    """Without a backup: what it sealed is lost and named, everything else goes on."""

    def test_is_replaced_when_that_is_said(self, setup, tmp_path):
        with running(Faulty(setup, tmp_path)) as server:
            caller = server.caller()
            lease = server.vend(caller)
            lease.boto3().put_object(Bucket="lake", Key="kept", Body=b"kept")
            key = server.make("parent-keys", account=caller.account, name="job", buckets=["lake"], permission="object-read-only")
            settings = {"account_id": "a" * 32, "parent_access_key_id": "b" * 32}
            server.make("storages", name="r2", kind="r2", settings=settings, secrets={"secret_access_key": "c" * 64})
            server.stop()
            keyring = server.data / "keyring"
            before = keyring.read_bytes()
            keyring.unlink()

            unasked = server.offline("init", "--replace-lost-keyring")
            assert unasked.returncode == 2 and "1 parent access keys" in unasked.stderr, unasked
            assert not keyring.exists() and "backup" in server.refuses_to_start()
            # Where it cannot be written, nothing is done: the right one would still fit.
            (server.data / "keyring.new").mkdir()
            failed = server.offline("init", "--replace-lost-keyring", "--yes")
            assert failed.returncode == 1 and "keyring.new" in failed.stderr, failed
            (server.data / "keyring.new").rmdir()
            keyring.write_bytes(before)
            server.start()
            server.stop()
            # A link to what is not there may be a volume that is not mounted.
            keyring.unlink()
            keyring.symlink_to(server.data / "not-mounted")
            linked = server.offline("init", "--replace-lost-keyring", "--yes")
            assert linked.returncode == 1 and "move it away" in linked.stderr, linked
            keyring.unlink()
            done = server.offline("init", "--replace-lost-keyring", "--yes")
            assert done.returncode == 0, done
            lost = json.loads(done.stdout)
            assert lost == {"parent_keys": [key["id"]], "storages": ["r2"]}
            assert keyring.read_bytes() != before and keyring.stat().st_mode & 0o777 == 0o600

            server.start()
            # What the old ring made opens nothing, with the old ring's number or without.
            assert Call(server.at(lease), query={"list-type": "2"}).send().status in (400, 403)
            shown = server.call("GET", f"/api/v1/leases/{lease.id}", server.admin_token).json()
            assert shown["state"] == "revoked", shown
            # Tokens go on, and what was stored is there.
            again = server.vend(caller)
            assert again.boto3().get_object(Bucket="lake", Key="kept")["Body"].read() == b"kept"
            storages = server.call("GET", "/api/v1/storages", server.admin_token).json()["storages"]
            [storage] = [row for row in storages if row["name"] == "r2"]
            assert storage["has_secrets"] is False, storage
            verified = server.call("GET", "/api/v1/ledger/verify", server.admin_token)
            assert verified.status == 200 and verified.json()["intact"], verified
            # The right one, found after all, is another server's by now.
            server.stop()
            keyring.write_bytes(before)
            assert "backup" in server.refuses_to_start()
