"""Events reach a file, a syslog and a webhook, each once it is there: whatever happened meanwhile, and after a kill."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import socketserver
import subprocess
import threading

import pytest

from harness import Server

KEY = bytes(range(32))


class Webhook(http.server.BaseHTTPRequestHandler):
    """Takes nothing at first; then everything that is signed."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        signed = b".".join([self.headers["webhook-id"].encode(), self.headers["webhook-timestamp"].encode(), body])
        tag = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert self.headers["webhook-signature"] == f"v1,{tag}"
        assert self.headers["content-type"] == "application/x-ndjson"
        takes = self.server.takes.is_set()
        if takes:
            self.server.add(body.decode().splitlines())
        self.server.asked.set()
        self.send_response(204 if takes else 500)
        self.end_headers()

    def log_message(self, *_):
        pass


class Syslog(socketserver.StreamRequestHandler):
    """RFC 6587: each message after its length."""

    def handle(self):
        while length := b"".join(iter(lambda: self.rfile.read(1).rstrip(b" "), b"")):
            head, text = self.rfile.read(int(length)).decode().split(" audit - ", 1)
            assert head.startswith("<110>1 20") and " valetkey " in head, head
            self.server.add([text])


class Collected:
    def __init__(self):
        self.more, self.events = threading.Condition(), {}

    def add(self, lines):
        with self.more:
            for line in lines:
                event = json.loads(line)
                self.events[event["metadata"]["uid"]] = event
            self.more.notify_all()

    def until(self, has):
        with self.more:
            assert self.more.wait_for(lambda: has(list(self.events.values())), 60), [code(one) for one in self.events.values()]
            return list(self.events.values())


class WebhookServer(Collected, http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        Collected.__init__(self)
        http.server.ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), Webhook)
        self.takes, self.asked = threading.Event(), threading.Event()


class SyslogServer(Collected, socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self):
        Collected.__init__(self)
        socketserver.ThreadingTCPServer.__init__(self, ("127.0.0.1", 0), Syslog)


@pytest.fixture(scope="module")
def collectors():
    both = WebhookServer(), SyslogServer()
    for one in both:
        threading.Thread(target=one.serve_forever, daemon=True).start()
    yield both
    for one in both:
        one.shutdown()
        one.server_close()


def code(event):
    return event["metadata"]["event_code"]


def leases(events):
    return {event["session"]["uid"] for event in events if code(event) == "lease.opened"}


def settings(collectors, file):
    webhook, syslog = (one.server_address[1] for one in collectors)
    return {
        "VALETKEY_AUDIT__FILE": str(file),
        "VALETKEY_AUDIT__SYSLOG": f"tcp:127.0.0.1:{syslog}",
        "VALETKEY_AUDIT__WEBHOOK_URL": f"http://127.0.0.1:{webhook}/events",
        "VALETKEY_AUDIT__WEBHOOK_SECRET": f"whsec_{base64.b64encode(KEY).decode()}",
    }


def vend(server):
    lease = server.vend(server.caller("read", "flights-lake"))
    server.secrets |= {lease.secret_access_key, lease.session_token}
    return lease.id


def test_every_destination_gets_what_happened_once_it_is_there(tmp_path, collectors):
    webhook, syslog = collectors
    file = tmp_path / "events.ndjson"
    with Server(os.environ["VALETKEY_BIN"], tmp_path, settings(collectors, file)) as server:
        opened = {vend(server), vend(server)}
        # It answers 500: what happened waits, and holds nothing up.
        assert webhook.asked.wait(60) and not webhook.events
        assert leases(syslog.until(lambda events: opened <= leases(events))) >= opened
        one = min(opened)
        assert server.call("DELETE", f"/api/v1/leases/{one}", server.admin_token).status == 200
        webhook.takes.set()

        def ended(events):
            return any(code(event) == "credentials.ended" and event["resources"][0]["uid"] == one for event in events)

        events = webhook.until(lambda events: opened <= leases(events) and ended(events))
        event = next(event for event in events if code(event) == "lease.opened" and event["session"]["uid"] == one)
        assert (event["class_uid"], event["type_uid"], event["status"]) == (3003, 300301, "Success")
        caller = server.caller("read", "flights-lake")
        assert (event["user"]["name"], event["user"]["account"]["name"]) == (caller.name, caller.account)
        assert event["src_endpoint"]["ip"] == "127.0.0.1" and event["resources"][0]["name"] == caller.bucket
        syslog.until(ended)
        # What was asked for is the same.
        told = server.cli("ledger", "events", "--cursor-file", str(tmp_path / "cursor"))
        assert told.returncode == 0, told.stderr
        pulled = {event["metadata"]["uid"]: event for event in map(json.loads, told.stdout.splitlines())}
        assert all(pulled[event["metadata"]["uid"]] == event for event in events)
        again = server.cli("ledger", "events", "--cursor-file", str(tmp_path / "cursor"))
        assert (again.returncode, again.stdout) == (0, "")
        third = vend(server)
        more = server.cli("ledger", "events", "--cursor-file", str(tmp_path / "cursor"))
        assert leases(map(json.loads, more.stdout.splitlines())) == {third}
        webhook.until(lambda events: third in leases(events))
        assert server.leaks() == []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert leases(lines) >= opened | {third} and len({line["metadata"]["uid"] for line in lines}) == len(lines)
    assert file.stat().st_mode & 0o777 == 0o600
    assert not any(secret in file.read_text() for secret in server.secrets)


def test_what_was_not_sent_before_a_kill_is_sent_after_it(tmp_path, collectors):
    webhook, _ = collectors
    webhook.takes.clear()
    where = settings(collectors, tmp_path / "events.ndjson")
    with Server(os.environ["VALETKEY_BIN"], tmp_path, where) as server:
        opened = {vend(server) for _ in range(20)}
        server.process.kill()
        server.process.wait()
    assert not opened & leases(webhook.events.values())
    webhook.takes.set()
    with Server(os.environ["VALETKEY_BIN"], tmp_path, where):
        webhook.until(lambda events: opened <= leases(events))


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("SYSLOG", "/dev/log", "unix:/dev/log"),
        ("SYSLOG", "udp:192.0.2.1:514", "insecure_http"),
        ("WEBHOOK_URL", "http://192.0.2.1/x", "https://"),
        ("WEBHOOK_URL", "https://user:word@example.com/x", "audit.webhook_url"),
        ("WEBHOOK_URL", "https://example.com/x", "audit.webhook_secret"),
    ],
)
def test_a_destination_that_cannot_be_meant_is_refused_at_the_start(tmp_path, name, value, said):
    environment = os.environ | {f"VALETKEY_AUDIT__{name}": value, "VALETKEY_DATA_DIR": str(tmp_path)}
    command = [os.environ["VALETKEY_BIN"], "server", "check-config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and said in done.stderr, done.stderr
