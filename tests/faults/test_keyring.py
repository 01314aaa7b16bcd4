"""A keyring that is lost, another's, or everybody's; and commands on a directory that is in use."""

import shutil

import pytest

from conftest import running
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
