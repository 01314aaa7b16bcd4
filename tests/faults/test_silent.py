"""Those who say nothing, or read nothing: what they hold ends, and others do not notice."""

import contextlib
import signal
import socket
import subprocess
import time
from urllib.parse import urlsplit

import pytest

from faults import memory, until
from h2.events import DataReceived
from h2client import Connection
from harness import MIB
from wire import Call


def at(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname, parts.port


def lingering(server, over, secs: int = 31, times: int = 8) -> None:
    """Minutes go by, in which nothing happens but what the server does by itself, until that is over."""
    for _ in range(times):
        server.tick(secs)
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            if over():
                return
    pytest.fail(f"{secs * times} s, and it is not over")


class TestHttp2:
    @pytest.fixture
    def unread(self, server):
        """A connection whose 32 streams are answered with a large object, and whose windows stay shut."""
        lease = server.vend(server.caller(), ttl=3600)
        lease.boto3().put_object(Bucket="lake", Key="large", Body=bytes(4 * MIB))
        files, before = server.faults.open_reads, memory(server.process)
        with contextlib.closing(Connection(server.s3, window=0)) as connection:
            streams = [connection.ask("GET", call.target, call.headers) for call in [Call(lease, key="large").sign()] * 32]
            until(lambda: server.faults.open_reads > files)
            connection.quiet()
            yield connection, streams, files, before

    def test_a_slow_reader_that_reads_is_served(self, server):
        """The same, but its window opens now and then: it has all of it in the end."""
        lease = server.vend(server.caller(), ttl=3600)
        body = bytes(range(256)) * 256
        lease.boto3().put_object(Bucket="lake", Key="slowly", Body=body)
        call = Call(lease, key="slowly").sign()
        with contextlib.closing(Connection(server.s3, window=0)) as connection:
            stream = connection.ask("GET", call.target, call.headers)

            def got() -> bytes:
                return b"".join(event.data for event in connection.events if isinstance(event, DataReceived))

            for size in range(8192, len(body) + 1, 8192):
                connection.h2.increment_flow_control_window(8192, stream)
                connection.flush()
                while len(got()) < size:
                    assert connection.hear(5), (len(got()), connection.events[-3:])
                server.tick(8)
                connection.quiet()
            assert got() == body

class TestHttp1:
    def test_a_reader_that_reads_nothing_is_let_go(self, server):
        lease = server.vend(server.caller(), ttl=3600)
        lease.boto3().put_object(Bucket="lake", Key="larger", Body=bytes(32 * MIB))
        files = server.faults.open_reads
        with contextlib.closing(Call(lease, key="larger").begin()):
            until(lambda: server.faults.open_reads > files)
            lingering(server, lambda: server.faults.open_reads <= files)

class TestShuttingDown:
    def stopped(self, server) -> float:
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(45)
        except subprocess.TimeoutExpired:
            pytest.fail("it does not end")
        return time.monotonic() - began

    def test_finishes_what_was_begun_and_says_that_it_is_the_last(self, server):
        lease = server.vend(server.caller())
        body = b"x" * 1000
        with contextlib.closing(Call(lease, "PUT", "last", body=body).begin()) as connection:
            connection.send(body[:500])
            server.process.send_signal(signal.SIGTERM)
            until(lambda: socket.socket().connect_ex(at(server.s3)) != 0)
            connection.send(body[500:])
            response = connection.getresponse()
            assert response.status == 200 and response.headers.get("connection") == "close"
        server.process.wait(15)
        server.start()
        assert server.at(lease).get("last") == body
