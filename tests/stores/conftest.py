import os

import pytest

from harness import Server
from holders import holders
from stores import Azurite, Ceph

pytest.register_assert_rewrite("reach")


@pytest.fixture(scope="session")
def ceph(tmp_path_factory):
    with Ceph(tmp_path_factory.mktemp("ceph")) as ceph:
        yield ceph


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    with Azurite(tmp_path_factory.mktemp("azurite")) as azurite:
        yield azurite


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("valetkey")) as server:
        yield server
    assert len(server.secrets) > 4 and server.log.stat().st_size > 0
    assert server.leaks() == []


@pytest.fixture(scope="session")
def holder(server):
    """Makes callers, each in a new account if none is named."""
    return holders(server)
