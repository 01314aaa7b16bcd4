"""Those who say nothing, or read nothing: what they hold ends, and others do not notice."""

import contextlib
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import time
from urllib.parse import urlsplit

import pytest

from faults import memory, until
from h2.events import DataReceived, StreamEnded
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

    def test_streams_whose_reader_reads_nothing_end(self, server, unread):
        connection, streams, *_ = unread

        def over():
            connection.quiet()
            return all(connection.ended(stream) for stream in streams)

        lingering(server, over, secs=10, times=20)

    def test_streams_whose_reader_reads_nothing_hold_little(self, server, unread):
        *_, before = unread
        assert memory(server.process) - before < 12 * MIB

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

    @pytest.mark.parametrize("listener", ["api", "s3"])
    def test_connections_that_only_ping_end(self, server, listener):
        lease = server.vend(server.caller())
        call = Call(lease, query={"list-type": "2"}).sign()
        with contextlib.closing(Connection(getattr(server, listener))) as connection:
            # It has asked something, once.
            stream = connection.ask("GET", *(("/livez", []) if listener == "api" else (call.target, call.headers)))
            connection.wait(StreamEnded, stream)

            def over():
                connection.ping()
                connection.quiet()
                return connection.over

            # Little by little: it asks, too, and wants to hear that the other side is there.
            lingering(server, over, secs=10, times=12)


class TestHttp1:
    def test_a_reader_that_reads_nothing_is_let_go(self, server):
        lease = server.vend(server.caller(), ttl=3600)
        lease.boto3().put_object(Bucket="lake", Key="larger", Body=bytes(32 * MIB))
        files = server.faults.open_reads
        with contextlib.closing(Call(lease, key="larger").begin()):
            until(lambda: server.faults.open_reads > files)
            lingering(server, lambda: server.faults.open_reads <= files)

    @pytest.mark.parametrize("listener", ["api", "s3"])
    @pytest.mark.parametrize("said", [b"", b"GET /livez HTT", b"GET /livez HTTP/1.1\r\nhost: x\r\nx-long: "])
    def test_who_asks_nothing_is_let_go_soon(self, server, listener, said):
        with contextlib.closing(socket.create_connection(at(getattr(server, listener)))) as silent:
            silent.sendall(said)
            lingering(server, lambda: select.select([silent], [], [], 0.05)[0], secs=10, times=2)


class TestManyConnections:
    def test_of_one_address_stop_nobody_else(self, server):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
        try:
            with contextlib.ExitStack() as stack:
                for address in (server.api, server.s3):
                    for _ in range(4200):
                        one = stack.enter_context(socket.socket())
                        one.setblocking(False)
                        one.bind(("127.0.0.2", 0))
                        one.connect_ex(at(address))
                for _ in range(3):
                    with contextlib.closing(socket.create_connection(at(server.api), 5)) as other:
                        other.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                        other.settimeout(5)
                        assert other.recv(1024).startswith(b"HTTP/1.1 200")
                lease = server.vend(server.caller())
                assert Call(lease, query={"list-type": "2"}).send().status == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestTheProcess:
    def test_takes_as_many_files_as_it_may(self, server):
        server.stop()
        server.start(files="256:")
        try:
            limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
            soft, hard = re.search(r"Max open files +(\d+) +(\d+)", limits).groups()
            assert soft == hard or int(soft) >= 65_536
        finally:
            server.restart()

    def test_leaves_no_core(self, server):
        limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +", limits)


    def test_keeps_files_for_its_work_when_connections_take_all_there_are(self, server):
        server.stop()
        since = server.log.stat().st_size
        server.start(files="200:200")
        try:
            assert "file" in server.lines(since) and '"WARN"' in server.lines(since), "it does not say that this is too few"
            caller = server.caller()
            lease, body = server.vend(caller), bytes(MIB)
            s3 = lease.boto3()
            s3.put_object(Bucket="lake", Key="files", Body=body)
            accepted = server.faults.accepted
            with contextlib.ExitStack() as stack:
                for address in [server.api, server.s3] * 200:
                    one = stack.enter_context(socket.socket())
                    one.setblocking(False)
                    one.bind(("127.0.0.2", 0))
                    one.connect_ex(at(address))
                until(lambda: server.faults.accepted > accepted + 100)
                for number in range(5):
                    s3.put_object(Bucket="lake", Key=f"files/{number}", Body=body)
                    assert s3.get_object(Bucket="lake", Key=f"files/{number}")["Body"].read() == body
        finally:
            server.restart()


class TestShuttingDown:
    def stopped(self, server) -> float:
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(45)
        except subprocess.TimeoutExpired:
            pytest.fail("it does not end")
        return time.monotonic() - began

    @pytest.mark.parametrize("said", [b"", b"GET /livez HTTP/1.1\r\nhost: x\r\nx-long: "], ids=["nothing", "half a head"])
    def test_waits_for_nobody_who_asks_nothing(self, server, said):
        with contextlib.ExitStack() as stack:
            for listener in (server.api, server.s3):
                one = stack.enter_context(socket.create_connection(at(listener)))
                one.sendall(said)
            # One that is kept for the next request.
            kept = stack.enter_context(socket.create_connection(at(server.api)))
            kept.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            assert kept.recv(1024).startswith(b"HTTP/1.1 200")
            took = self.stopped(server)
        server.start()
        assert took < 8, f"it took {took:.1f} s"

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
