"""Stores that somebody else runs: an STS with a latency and a quota, and storages that fetch from it."""

import json
import subprocess
import sys
import time
import urllib.request

import machine
import presign
import valetkey
from machine import HERE, LOAD_CORE, Server

# What AWS documents for `AssumeRole`: so many calls a second for an account and region. An answer takes about so long.
LATENCY_MS, QUOTA = 50, 600
# A budget of our own below it; and one so large that only the store's own quota is left.
BUDGET, NONE = 500, 100_000
# What is asked for a second, to be beyond both; and below both.
BEYOND, BELOW = 1000, 400
# The storages, each with a bucket and a grant of its name.
STORAGES = {
    "kept": {"calls_per_sec": NONE},
    "shared": {"calls_per_sec": NONE, "sharing": "anyone"},
    "budget": {"calls_per_sec": BUDGET},
    "quota": {"calls_per_sec": NONE},
    "short": {"calls_per_sec": NONE, "max_ttl_secs": 60},
}
# And the embedded storage's.
OWN = "own"


class Sts(Server):
    """The stub, on the load's core: the server under test has its own for itself."""

    core = LOAD_CORE

    def __init__(self, binary, address):
        super().__init__([binary, "sts", address, LATENCY_MS, QUOTA])

    def calls(self):
        """How many calls it answered, and how many it refused."""
        with urllib.request.urlopen(f"{self.said}/calls") as answer:
            return json.load(answer)

    def refill(self):
        """Waits until its quota is unused again."""
        time.sleep(1.1)


def storages(server, account, sts_url):
    """Makes the storages, a bucket in each, and a grant on it for every caller of the account."""
    def place(name, storage):
        server.ask("POST", "/api/v1/buckets", server.admin, {"bucket": f"bench-{name}", "storage": storage})
        grant = {"account": account, "name": name, "to": None, "bucket": f"bench-{name}", "prefix": "data"}
        server.ask("POST", "/api/v1/grants", server.admin, grant)

    own = server.ask("GET", "/api/v1/storages", server.admin)["storages"]
    place(OWN, next(storage["id"] for storage in own if storage["kind"] == "embedded"))
    for name, more in STORAGES.items():
        settings = {"sts_endpoint": sts_url, "region": "eu-west-1", "role_arn": "arn:aws:iam::123456789012:role/bench"}
        if name == "short":
            settings |= {"profile": "other", "min_duration_secs": 30}
        storage = {
            "name": name, "kind": "sts", "endpoint": "http://127.0.0.1:1", "settings": settings,
            "secrets": {"access_key_id": "AKIABENCH", "secret_access_key": "bench"}, **more,
        }
        server.ask("POST", "/api/v1/storages", server.admin, storage)
        place(name, name)


def vend(token, grant, prefix=None):
    """A vend from a grant, or of a directory in it, as a whole request."""
    ask = {"grant": grant} if prefix is None else {"grant": grant, "prefix": f"data/{prefix}"}
    return presign.plain("POST", valetkey.NATIVE_VEND, "127.0.0.1", {"authorization": f"Bearer {token}"}, json.dumps(ask).encode())


def paced(server, requests, per_sec):
    """Sends each request once, at a fixed rate (all at once with 0). Returns what came of it."""
    command = machine.pinned(LOAD_CORE, [sys.executable, HERE / "paced.py", server.api, requests, per_sec])
    cpu = server.cpu_secs()
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, start_new_session=True)
    if ran.returncode:
        raise SystemExit(f"paced.py failed: {ran.stderr}")
    row = json.loads(ran.stdout)
    return {**row, "cpu_us": (server.cpu_secs() - cpu) / sum(row["statuses"].values()) * 1e6}


def lasted(server, token, grant, began):
    """How long a kept credential is handed out while its store is away (since `began`), and what the first refusal says."""
    while True:
        connection = valetkey.Connection(server.api)
        status, body = connection.answer("POST", valetkey.NATIVE_VEND, json.dumps({"grant": grant}), {"authorization": f"Bearer {token}"})
        if status != 200:
            return {"secs": time.perf_counter() - began, "status": status, "said": json.loads(body)["detail"]}
        time.sleep(0.1)
