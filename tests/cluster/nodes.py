"""Several servers on one Postgres, each a process of its own with a directory of its own, and the Postgres under test's control."""

import contextlib
import glob
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time

from harness import Caller, Lease, Server

_BIN = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what: str, so, secs: float = 20.0) -> float:
    """Waits until it is so; how long it took."""
    began = time.monotonic()
    while not so():
        assert time.monotonic() - began < secs, f"{what}: not within {secs} s"
        time.sleep(0.005)
    return time.monotonic() - began


class Postgres:
    """Debian's Postgres in a directory of its own, on a port of its own, with a password."""

    PASSWORD = "a-password-that-no-log-may-have"

    def __init__(self, standby_of: "Postgres | None" = None, directory: pathlib.Path | None = None):
        self.dir = directory or pathlib.Path(tempfile.mkdtemp(prefix="valetkey-cluster-"))
        self.dir.mkdir(exist_ok=True)
        self.port = free_port()
        # Postgres does not run as root.
        self.own = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []
        if self.own:
            subprocess.run(["chown", "-R", "postgres", str(self.dir)], check=True)
        if standby_of is not None:
            standby_of._copy_to(f"{self.dir}/data", self.own)
            self.start()
            return
        password = self.dir / "password"
        password.write_text(self.PASSWORD)
        password.chmod(0o644)
        init = ["initdb", "--pgdata", f"{self.dir}/data", "--username", "valetkey", "--auth", "scram-sha-256", "--pwfile", str(password)]
        self._run(*init, "--encoding", "UTF8", "--locale", "C")
        self.start()
        self.sql("CREATE DATABASE valetkey", "postgres")

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        return f"postgres://valetkey@127.0.0.1:{port}/valetkey"

    def of(self, user: str = "valetkey", database: str = "valetkey", more: str = "") -> str:
        return f"postgres://{user}@127.0.0.1:{self.port}/{database}{more}"

    def certify(self) -> pathlib.Path:
        """Has it speak TLS, with a certificate of an authority of its own. Returns that one's."""
        at = self.dir / "data"
        (self.dir / "openssl").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
        make = ["openssl", "req", "-x509", "-config", f"{self.dir}/openssl", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        ca = ["-subj", "/CN=own", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", f"{at}/ca.key", "-out", f"{at}/ca.crt"]
        own = ["-subj", "/CN=postgres", "-addext", "subjectAltName=IP:127.0.0.1", "-CA", f"{at}/ca.crt", "-CAkey", f"{at}/ca.key"]
        for which in (ca, [*own, "-keyout", f"{at}/server.key", "-out", f"{at}/server.crt"]):
            subprocess.run([*self.own, *make, *which], check=True, capture_output=True)
        self.sql("ALTER SYSTEM SET ssl = on", "postgres")
        self.sql("SELECT pg_reload_conf()", "postgres")
        until("TLS", lambda: self.sql("SHOW ssl", "postgres") == "on")
        return at / "ca.crt"

    def _copy_to(self, data: str, own: list[str]) -> None:
        where = f"host=127.0.0.1 port={self.port} user=valetkey password={self.PASSWORD}"
        copy = [*own, str(_BIN / "pg_basebackup"), "--dbname", where, "--pgdata", data, "--write-recovery-conf", "--wal-method", "stream"]
        subprocess.run([*copy, "--checkpoint", "fast"], check=True, capture_output=True)

    def standby(self) -> "Postgres":
        """A replica of this one, which every commit waits for from here on."""
        standby = Postgres(standby_of=self)
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'", "postgres")
        self.sql("SELECT pg_reload_conf()", "postgres")
        until("a standby", lambda: self.sql("SELECT sync_state FROM pg_stat_replication", "postgres") == "sync")
        return standby

    def promote(self) -> None:
        self._run("pg_ctl", "--pgdata", f"{self.dir}/data", "--wait", "--silent", "promote")
        # It commits alone now.
        self.sql("ALTER SYSTEM RESET synchronous_standby_names", "postgres")
        self.sql("SELECT pg_reload_conf()", "postgres")

    def _run(self, command: str, *more: str) -> None:
        done = subprocess.run([*self.own, str(_BIN / command), *more], capture_output=True, text=True)
        assert done.returncode == 0, done

    @property
    def answers(self) -> bool:
        return subprocess.run([str(_BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode == 0

    def start(self) -> None:
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.dir} -c max_connections=200"
        control = [*self.own, str(_BIN / "pg_ctl"), "--pgdata", f"{self.dir}/data", "--wait", "--silent"]
        subprocess.run([*control, "--log", f"{self.dir}/log", "--options", options, "start"], check=True, stdout=subprocess.DEVNULL)
        self.running = True

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "--pgdata", f"{self.dir}/data", "--mode", mode, "--silent", "--wait", "stop")
        self.running = False

    def stopped(self) -> None:
        """It ended by itself."""
        until("it has ended", lambda: not (self.dir / "data" / "postmaster.pid").exists() or not self.answers)
        subprocess.run([*self.own, str(_BIN / "pg_ctl"), "--pgdata", f"{self.dir}/data", "--mode", "immediate", "--silent", "--wait", "stop"])
        self.running = False

    def sql(self, statement: str, database: str = "valetkey") -> str:
        env = os.environ | {"PGPASSWORD": self.PASSWORD}
        ask = [str(_BIN / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "valetkey", "-At", "-c", statement, database]
        done = subprocess.run(ask, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done
        return done.stdout.strip()

    def tries(self, *statements: str) -> None:
        """Says something that may fail."""
        for statement in statements:
            with contextlib.suppress(AssertionError):
                self.sql(statement)

    def remove(self) -> None:
        if self.running:
            self.stop()
        subprocess.run(["rm", "-rf", str(self.dir)], check=True)


class Way:
    """A way to Postgres on which everything can be lost without a word, and which can lead elsewhere afterwards."""

    def __init__(self, port: int):
        self.to: int | None = port
        # So many of the next connections end as soon as they are there.
        self.drop = 0
        # What the server says, as it arrives.
        self.told = lambda some: some
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[tuple[threading.Event, list[socket.socket]]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.drop > 0:
                self.drop -= 1
                near.close()
                continue
            silent, ends = threading.Event(), [near]
            self._open.append((silent, ends))
            if self.to is None:
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            ends.append(far)
            for source, sink, told in ((near, far, lambda some: some), (far, near, lambda some: self.told(some))):
                threading.Thread(target=self._carry, args=(source, sink, silent, told), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, silent: threading.Event, told) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(65536):
                if not silent.is_set():
                    sink.sendall(told(some))
            if not silent.is_set():
                sink.shutdown(socket.SHUT_WR)

    def silence(self) -> None:
        """Nothing comes through any more, and nobody is told."""
        self.to = None
        for silent, _ in self._open:
            silent.set()

    def lead(self, port: int) -> None:
        """New connections lead there. Those of before stay silent."""
        self.to = port

    def close(self) -> None:
        self._listener.close()
        for _, ends in self._open:
            for end in ends:
                end.close()


class Node(Server):
    """One of the servers."""

    def __init__(self, binary: str, directory: pathlib.Path, settings: dict[str, str]):
        directory.mkdir(exist_ok=True)
        self.binary, self.log, self.data = binary, directory / "stderr.log", directory / "data"
        self.secrets: set[str] = set()
        self.callers = []
        # What it says of itself is where clients reach all of them; this one is reached at ports of its own.
        api, s3 = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.api, self.s3 = f"http://{api}", f"http://{s3}"
        env = os.environ | {"VALETKEY_LOG__LEVEL": "trace", "VALETKEY_LOG__FORMAT": "json"} | settings
        env |= {f"VALETKEY_LIMITS__{name}": "per-second:100000/1" for name in ("CREDENTIALS", "REQUESTS", "STRANGERS")}
        command = [binary, "server", "run", "--data-dir", str(self.data), "--output", "json"]
        command += ["--api-listen", api, "--s3-listen", s3]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env)
        try:
            self._ready()
        except BaseException:
            if self.process.poll() is None:
                self.stop()
            raise

    def status(self) -> int:
        return self.call("GET", "/readyz").status

    def ask(self, caller: Caller):
        where = {"prefix": caller.prefix} if caller.prefix else {"whole_bucket": True}
        body = {"bucket": caller.bucket, "access": caller.access, "ttl_secs": 900} | where
        return self.call("POST", "/api/v1/credentials", caller.token, body)

    def opens(self, lease: Lease, key: str, there: bool = True) -> bool:
        """Whether its endpoint takes a credential. The bucket is there, unless that is not said."""
        import dataclasses

        from botocore.exceptions import ClientError

        try:
            dataclasses.replace(lease, endpoint=self.s3).boto3().head_object(Bucket=lease.bucket, Key=key)
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in ((400, 403) if there else (400, 403, 404)), error.response
            return False
        return True


class Cluster:
    """Postgres, a store behind the gateway that all of them reach, and the servers."""

    def __init__(self, binary: str, directory: pathlib.Path, nodes: int, postgres: Postgres | None = None):
        self.binary, self.directory = binary, directory
        self.postgres = postgres or Postgres()
        self.way = Way(self.postgres.port)
        self.objects = directory / "objects"
        (self.objects / "lake").mkdir(parents=True)
        self.keyring = directory / "first" / "keyring"
        self.settings = {
            "VALETKEY_DATABASE__URL": self.postgres.url,
            "VALETKEY_DATABASE__PASSWORD": Postgres.PASSWORD,
            "VALETKEY_API__PUBLIC_URL": "http://127.0.0.1:7070",
            "VALETKEY_S3__PUBLIC_URL": "http://127.0.0.1:7071",
            "VALETKEY_S3__EMBEDDED": "false",
            "VALETKEY_KEYS__FILE": str(self.keyring),
            "VALETKEY_GATEWAY__LOCAL_ROOTS": str(self.objects),
        }
        self.nodes: list[Node] = []
        try:
            self._begin(nodes)
        except BaseException:
            self.close()
            raise

    def _begin(self, nodes: int) -> None:
        done = self.offline("init", self.directory / "first")
        assert done.returncode == 0, done
        self.admin_token = json.loads(done.stdout)["operator_token"]
        for number in range(nodes):
            self.join(f"node{number}")
        first = self.nodes[0]
        first.make("storages", name="shared", kind="gateway", settings={"backend": "local", "root": str(self.objects)})
        first.make("buckets", bucket="lake", storage="shared")
        (self.objects / "lake" / "seed").write_bytes(b"seed")
        self.numbers = iter(range(1_000_000))
        lease = first.vend(self.caller(), prefix=None, whole_bucket=True)
        for node in self.nodes:
            until("a new storage is served everywhere", lambda node=node: node.opens(lease, "seed", there=False), 2.0)

    def offline(self, command: str, data: pathlib.Path, *more: str, **settings: str) -> subprocess.CompletedProcess:
        ask = [self.binary, "server", command, *more, "--data-dir", str(data), "--output", "json"]
        return subprocess.run(ask, env=os.environ | self.settings | settings, capture_output=True, text=True, timeout=60)

    def join(self, name: str, **settings: str) -> Node:
        own = self.settings | {"VALETKEY_DATABASE__NODE": name} | settings
        node = Node(self.binary, self.directory / name, own)
        node.admin_token = self.admin_token
        node.secrets |= {self.admin_token, Postgres.PASSWORD}
        self.nodes.append(node)
        return node

    def stop(self) -> None:
        """Stops every server; their logs stay."""
        for node in self.nodes:
            node.stop()
        self.nodes.clear()

    def caller(self, node: int = 0) -> Caller:
        number = next(self.numbers)
        account, name = f"account-{number}", f"caller-{number}"
        at = self.nodes[node]
        at.make("accounts", name=account)
        token = at.make("tokens", account=account, caller=name)["token"]
        for each in self.nodes:
            each.secrets.add(token)
        at.make("grants", account=account, name="lake", to=name, bucket="lake", access="read-write", whole_bucket=True)
        return Caller(name, account, token, "read-write", "lake", "")

    def verify(self) -> dict:
        done = self.nodes[0].call("GET", "/api/v1/ledger/verify", self.admin_token)
        assert done.status == 200, done
        found = json.loads(done.body)
        assert found["intact"], found
        return found

    def close(self) -> None:
        for node in self.nodes:
            if node.process.poll() is None:
                node.stop()
        self.way.close()
        self.postgres.remove()


@contextlib.contextmanager
def running(directory: pathlib.Path, nodes: int, postgres: Postgres | None = None):
    """Stops them at the end, and looks whether a secret is anywhere."""
    own = Cluster(os.environ["VALETKEY_BIN"], directory, nodes, postgres)
    try:
        yield own
        for node in own.nodes:
            assert node.leaks() == []
    finally:
        own.close()
