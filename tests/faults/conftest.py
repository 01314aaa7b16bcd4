import contextlib
import os
import pathlib
import tempfile

import pytest

import faults
from faults import SmallDisk
from serving import Setup, Faulty

pytest.register_assert_rewrite("held", "h2client", "upstreams")


def pytest_generate_tests(metafunc):
    """Full disks: as the shim tells it, and where this process may mount, real ones too."""
    if "small" in metafunc.fixturenames:
        with tempfile.TemporaryDirectory() as directory:
            mounted = ["mounted"] if SmallDisk.possible(pathlib.Path(directory)) else []
        metafunc.parametrize("small", ["told", *mounted], indirect=True, scope="module")


@pytest.fixture(scope="session")
def setup(tmp_path_factory):
    return Setup(os.environ["VALETKEY_BIN"], faults.compiled(tmp_path_factory.mktemp("shim")))


@contextlib.contextmanager
def running(server):
    """Stops it at the end, and looks whether a secret is anywhere."""
    with server:
        yield server
    assert server.leaks() == []


@pytest.fixture(scope="session")
def pond(tmp_path_factory):
    """The directory behind the gateway's bucket of that name."""
    pond = tmp_path_factory.mktemp("disk") / "pond"
    pond.mkdir()
    return pond


@pytest.fixture(scope="session")
def shared(setup, pond, tmp_path_factory):
    """The server that all share whose fault is over with the test."""
    disk = pond.parent
    settings = {"VALETKEY_S3__MIN_TTL_SECS": "1", "VALETKEY_GATEWAY__LOCAL_ROOTS": str(disk)}
    # What holds at the S3 endpoint over HTTP/1.1 holds over HTTP/2, too.
    settings["VALETKEY_S3__HTTP2"] = "true"
    # Where the stubs are that take themselves for the machine's metadata server.
    settings["VALETKEY_UPSTREAM__MACHINE_IDENTITY_HOSTS"] = "127.0.0.1"
    with running(Faulty(setup, tmp_path_factory.mktemp("shared"), settings)) as server:
        server.make("storages", name="disk", kind="gateway", min_ttl_secs=1, settings={"backend": "local", "root": str(disk)})
        server.make("buckets", bucket="pond", storage="disk")
        yield server


@pytest.fixture
def server(shared):
    """The shared server, well at the beginning and at the end."""
    yield shared
    shared.faults.mend()
    shared.faults.wall_ns = 0
    try:
        faults.until(lambda: shared.ready_status() == 200 and shared.writes(), 5)
    except BaseException:
        # The next test is not to suffer for it.
        shared.kill()
        shared.start()
        raise
