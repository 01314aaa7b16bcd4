import itertools
import os
import socket

import pytest

from fronts import Authority, HAProxy, Nginx, Node, free_port


_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def names():
    """The documentation's own names are this machine."""
    asked = socket.getaddrinfo

    def answered(host, *rest, **fields):
        return asked("127.0.0.1" if isinstance(host, str) and host.endswith(".example.com") else host, *rest, **fields)

    socket.getaddrinfo = answered
    yield
    socket.getaddrinfo = asked


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("authority"))
    os.environ["AWS_CA_BUNDLE"] = str(authority.ca)
    return authority


@pytest.fixture(scope="session", params=[HAProxy, Nginx], ids=lambda kind: kind.__name__.lower())
def stopped(request, authority, tmp_path_factory):
    """A node with its proxy, which does not run yet."""
    port = free_port()
    with Node(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("node"), port, request.param.settings) as node:
        yield request.param(node, authority, port)
    assert node.secrets
    assert node.leaks() == []


@pytest.fixture
def front(stopped, tmp_path):
    """The proxy as it is in `deploy/proxy`."""
    with stopped.running(tmp_path):
        yield stopped


@pytest.fixture
def caller(stopped):
    """Who may write below a prefix of its own."""
    return stopped.node.caller(prefix=f"daily-{next(_numbers)}")
