"""The server under test, with the shim in front of it: it can be killed, started again, and told what goes wrong."""

import itertools
import json
import os
import pathlib
import resource
import subprocess
from dataclasses import dataclass, replace

from botocore.exceptions import ClientError

from faults import Faults, killed
from harness import Caller, Lease, Server

_numbers = itertools.count()


def outcome(call, **fields) -> tuple[int, str | None, str | None]:
    """Status, code and Retry-After of what S3 says."""
    try:
        answer = call(**fields)
    except ClientError as error:
        answer = error.response
    said = answer["ResponseMetadata"]
    return said["HTTPStatusCode"], answer.get("Error", {}).get("Code"), said["HTTPHeaders"].get("retry-after")


@dataclass(frozen=True)
class Setup:
    """What every server of a session starts from."""

    binary: str
    shim: pathlib.Path


class Faulty(Server):
    """`valetkey server run`, set up as an operator does it, with the bucket `lake` on its own disk."""

    def __init__(self, setup: Setup, directory: pathlib.Path, settings: dict[str, str] | None = None, data: pathlib.Path | None = None):
        self.binary, self.shim, self.settings = setup.binary, setup.shim, settings or {}
        self.log, self.data = directory / "stderr.log", data or directory / "data"
        self.faults = Faults(directory / "faults", self.data)
        self.secrets: set[str] = set()
        done = self.offline("init")
        assert done.returncode == 0, done
        self.admin_token = json.loads(done.stdout)["operator_token"]
        self.secrets.add(self.admin_token)
        self.start()
        try:
            self.make("buckets", bucket="lake")
        except BaseException:
            self.stop()
            raise

    def offline(self, *command: str) -> subprocess.CompletedProcess:
        """A command on the data directory, without a running server. No error is raised."""
        command = [self.binary, "server", *command, "--data-dir", str(self.data), "--output", "json"]
        return subprocess.run(command, env=os.environ | self.settings, capture_output=True, text=True, timeout=60)

    def start(self, files: str | None = None) -> None:
        """Starts on what is there; with limits on open files (`soft:hard`), if some are given."""
        self.faults.forget()
        env = os.environ | {"LD_PRELOAD": str(self.shim), "FAULTS": str(self.faults.path)}
        env |= {"VALETKEY_LOG__LEVEL": "debug", "VALETKEY_LOG__FORMAT": "json"}
        env |= {f"VALETKEY_LIMITS__{name}": "per-second:100000/1" for name in ("CREDENTIALS", "REQUESTS", "STRANGERS")}
        command = [self.binary, "server", "run", "--data-dir", str(self.data), "--output", "json"]
        command += ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]
        # If it wants to leave no core, that is for itself to say.
        core = resource.getrlimit(resource.RLIMIT_CORE)[1]
        limits = [f"--core={'unlimited' if core == resource.RLIM_INFINITY else core}"]
        limits += [f"--nofile={files}"] if files else []
        with self.log.open("ab") as log:
            command = ["prlimit", *limits, *command]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env | self.settings)
        try:
            ready = self._ready()
        except BaseException:
            self.stop()
            raise
        self.api, self.s3 = ready["api"].rstrip("/"), ready["s3"].rstrip("/")

    def refuses_to_start(self) -> str:
        """Tries to start on what is there: what it says when it does not."""
        since = self.log.stat().st_size
        try:
            self.start()
        except RuntimeError as refused:
            assert "exited with 1" in str(refused), refused
            return self.lines(since)
        self.stop()
        raise AssertionError("it runs")

    def kill(self) -> None:
        """Ends it as a power cut does, but for what the kernel keeps."""
        killed(self.process)
        self.process.stdout.close()

    def restart(self, **settings) -> None:
        self.stop()
        self.start(**settings)

    def tick(self, secs: float) -> None:
        """The clock of deadlines goes forward: what waited until then is over. A request wakes who looks at that clock."""
        self.faults.tick(secs)
        assert self.call("GET", "/livez").status == 200

    def ready_status(self) -> int:
        return self.call("GET", "/readyz").status

    def noted(self, answer):
        """As everywhere; but a token's id is no secret."""
        super().noted(answer)
        self.secrets = {secret for secret in self.secrets if not secret.startswith("tok_")}
        return answer

    def writes(self) -> bool:
        """Whether its database takes anything."""
        return self.call("POST", "/api/v1/accounts", self.admin_token, {"name": f"written-{next(_numbers)}"}).status == 201

    def caller(self, bucket: str = "lake", prefix: str | None = None, access: str = "read-write", account: str | None = None) -> Caller:
        """A new caller with a grant, in a new account if none is named."""
        number = next(_numbers)
        if account is None:
            account = self.make("accounts", name=f"account-{number}")["name"]
        name = f"caller-{number}"
        token = self.make("tokens", account=account, caller=name)["token"]
        self.secrets.add(token)
        where = {"prefix": prefix} if prefix else {"whole_bucket": True}
        self.make("grants", account=account, name=f"grant-{number}", to=name, bucket=bucket, access=access, **where)
        return Caller(name, account, token, access, bucket, prefix)

    def ask(self, caller: Caller, ttl: int = 900, **fields):
        """What the API says to one who asks for what its grant opens."""
        where = {"prefix": caller.prefix} if caller.prefix else {"whole_bucket": True}
        body = {"bucket": caller.bucket, "access": caller.access, "ttl_secs": ttl} | where | fields
        return self.call("POST", "/api/v1/credentials", caller.token, body)

    def vend(self, caller: Caller, ttl: int = 900, **fields) -> Lease:
        whole = {} if caller.prefix else {"whole_bucket": True}
        return super().vend(caller, ttl, **whole | fields)

    def at(self, lease: Lease) -> Lease:
        """A lease of before a restart, where the server is now."""
        return replace(lease, endpoint=self.s3)

    def lines(self, since: int = 0) -> str:
        """What it logged, from that byte on."""
        with self.log.open("rb") as log:
            log.seek(since)
            return log.read().decode()
