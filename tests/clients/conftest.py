import contextlib
import itertools
import os

import pytest

from harness import Server


def started(make_directory):
    """The demo; or a server with the demo's buckets behind its gateway, if ../stores says so."""
    if storage := os.environ.get("TEST_STORAGE"):
        import behind

        return behind.started(storage, make_directory)
    return Server(os.environ["VALETKEY_BIN"], make_directory("valetkey"))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with started(tmp_path_factory.mktemp) as server:
        yield server
    assert len(server.secrets) > 4 and server.log.stat().st_size > 0
    assert server.leaks() == []


@pytest.fixture(scope="session")
def vend(server):
    return server.vend


@pytest.fixture(scope="session")
def reader(server):
    """Who may read `flights/daily`."""
    return server.caller("read", "flights-lake")


@pytest.fixture(scope="session")
def writer(server):
    """Who may read and write a staging area of the same bucket."""
    return server.caller("read-write", "flights-lake")


@pytest.fixture(scope="session")
def stranger(server):
    """Who belongs to another account."""
    return next(caller for caller in server.callers if caller.bucket == "airlines-lake")


@pytest.fixture(scope="session")
def reading(vend, reader):
    return vend(reader)


@pytest.fixture(scope="session")
def writing(vend, writer):
    return vend(writer)


@pytest.fixture(scope="session")
def expired(vend, reader):
    return vend(reader, ttl=1).outlive()


_numbers = itertools.count()


@pytest.fixture
def folder(request, writing):
    """A prefix in the staging area that no other test writes to."""
    return f"{writing.prefix}/{request.cls.__name__ if request.cls else request.module.__name__}-{next(_numbers)}"


@pytest.fixture
def use(request, tmp_path):
    """Opens the client under test with a lease."""
    with contextlib.ExitStack() as stack:

        def use(lease):
            client = request.cls.client(lease, tmp_path)
            stack.callback(client.close)
            return client

        yield use
