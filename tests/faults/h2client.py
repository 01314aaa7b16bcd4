"""HTTP/2 by hand, over a plain socket: windows that never open, pings, connections without a request."""

import contextlib
import socket
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import h2.settings


class Connection:
    """A connection that opens no more of its window than it is told to."""

    def __init__(self, endpoint: str, window: int | None = None):
        at = urlsplit(endpoint)
        self.authority = at.netloc
        self.socket = socket.create_connection((at.hostname, at.port), 10)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        if window is not None:
            # Of each stream; the connection's own is no limit.
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
            self.h2.increment_flow_control_window(1 << 30)
        self.events: list[h2.events.Event] = []
        self.received = b""
        self.closed = False
        self.flush()

    def flush(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(self.h2.data_to_send())

    def ask(self, method: str, target: str, headers: list[tuple[str, str]], ends: bool = True) -> int:
        """Begins a request; the number of its stream."""
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":path", target), (":authority", self.authority)]
        fields += [(name, value) for name, value in headers if name not in ("host", "connection")]
        self.h2.send_headers(stream, fields, end_stream=ends)
        self.flush()
        return stream

    def ping(self) -> None:
        self.h2.ping(b"faults!!")
        self.flush()

    def hear(self, secs: float) -> list[h2.events.Event | None]:
        """Whatever comes within that time, the first of it without waiting longer; nothing in it, if no frame is whole."""
        self.socket.settimeout(secs)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return []
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return []
        self.received += data
        new = []
        while len(self.received) >= 9 and len(self.received) >= (size := 9 + int.from_bytes(self.received[:3])):
            frame, self.received = self.received[:size], self.received[size:]
            came = self.h2.receive_data(frame)
            new += came
            if any(isinstance(event, h2.events.ConnectionTerminated) for event in came):
                # What was begun goes on until its end; this library takes it for the end of everything.
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        self.flush()
        self.events += new
        return new or [None]

    def wait(self, kind, stream: int | None = None, secs: float = 10):
        """The first event of that kind, and of that stream."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", None)):
                    return event
            if not self.hear(secs):
                raise AssertionError(f"no {kind.__name__}: {'closed' if self.closed else self.events}")

    def quiet(self) -> None:
        """Hears and answers until nothing more comes."""
        while self.hear(0.05):
            pass

    @property
    def over(self) -> bool:
        """Whether the other side has ended it."""
        return self.closed or any(isinstance(event, h2.events.ConnectionTerminated) for event in self.events)

    def ended(self, stream: int) -> bool:
        """Whether that stream is over, or all of them are."""
        ends = (h2.events.StreamEnded, h2.events.StreamReset)
        return self.closed or any(isinstance(event, ends) and event.stream_id == stream for event in self.events)

    def answer(self, stream: int) -> tuple[int | None, bytes, dict[str, str]]:
        """Status, body and headers of what came on that stream; nothing if it was reset."""
        mine = [event for event in self.events if getattr(event, "stream_id", None) == stream]
        heads = [dict(event.headers) for event in mine if isinstance(event, h2.events.ResponseReceived)]
        if not heads:
            return None, b"", {}
        body = b"".join(event.data for event in mine if isinstance(event, h2.events.DataReceived))
        return int(heads[0][":status"]), body, heads[0]

    def close(self) -> None:
        self.socket.close()
