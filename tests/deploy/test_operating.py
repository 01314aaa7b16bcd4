"""What `docs/operating.md` says to do, done: a restart, backup and restore, a rotation of the keyring."""

import json
import os
import shutil

import pytest

from faults import until
from fronts import Node, free_port
from test_proxies import refused


@pytest.fixture
def node(tmp_path):
    settings = {"VALETKEY_S3__PUBLIC_URL": "", "VALETKEY_LIMITS__CREDENTIALS": "per-second:100000/1"}
    with Node(os.environ["VALETKEY_BIN"], tmp_path, free_port(), settings) as node:
        yield node


def vended(node):
    """A credential that was used."""
    lease = node.vend(node.caller(prefix="kept"))
    lease.boto3().put_object(Bucket="lake", Key="kept/x", Body=b"x")
    return lease


def test_credentials_outlive_a_restart(node):
    lease = vended(node)
    node.restart()
    assert lease.get("kept/x") == b"x"


def test_a_backup_of_a_stopped_node_is_the_node_again(node, tmp_path):
    lease, ended = vended(node), vended(node)
    ended.revoke()
    head = json.loads(node.cli("ledger", "verify").stdout)["head"]
    node.stop()
    shutil.copytree(node.data, tmp_path / "backup")
    node.start()
    after = node.caller(prefix="after")
    node.stop()

    shutil.rmtree(node.data)
    shutil.copytree(tmp_path / "backup", node.data)
    node.start()
    assert lease.get("kept/x") == b"x"
    assert refused(ended.boto3().get_object, Bucket="lake", Key="kept/x")[1] == "ExpiredToken"
    assert node.cli("ledger", "verify", "--expect-head", head).returncode == 0
    # What came after the backup is lost: whoever was given a token then has none.
    assert node.ask(after).status == 401


def test_a_restored_ledger_that_is_not_the_expected_one_is_told(node):
    vended(node)
    done = node.cli("ledger", "verify", "--expect-head", f"1:{'0' * 64}")
    assert done.returncode == 9, done


def test_a_new_key_is_taken_up_by_a_running_node_and_old_credentials_go_on(node):
    lease, caller = vended(node), node.caller(prefix="kept")
    assert node.offline("rotate-keys").returncode == 0

    def newer():
        new = node.vend(caller)
        return new if new.access_key_id[2:4] != lease.access_key_id[2:4] else None

    new = until(newer)
    assert lease.get("kept/x") == new.get("kept/x") == b"x"
    # A keyring of before the rotation is refused: with it, what was sealed since could not be opened.
    kept = (node.data / "keyring").read_text().splitlines()
    (node.data / "keyring").write_text("\n".join(line for line in kept if not line.startswith("2:")) + "\n")
    node.stop()
    assert "keyring" in node.refuses_to_start()
