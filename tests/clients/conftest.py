import contextlib
import itertools
import os

import pytest

pytest.register_assert_rewrite("contract", "harness", "wire")

# No client may find other credentials, endpoints or proxies than the ones a test gives it.
for name in [
    name for name in os.environ if name.upper().startswith(("AWS_", "CLOUDFLARE_", "RCLONE_")) or name.upper().endswith("_PROXY")
]:
    del os.environ[name]
os.environ |= {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

from harness import Server  # noqa: E402  (after the environment is clean)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that skips has not tested: it fails."""
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.nodeid} skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("valetkey")) as server:
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
