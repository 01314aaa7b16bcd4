"""Keys that were ended while a program held on to them: who asks for new ones gets new ones."""

import json
import os
import subprocess

import pytest

from faults import Faults


@pytest.fixture
def process(server, tmp_path):
    """`valetkey creds --format process`, as SDKs call it: of one caller, with a cache of its own, at a time that can be set."""
    caller = server.caller()
    clock = Faults(tmp_path / "clock", tmp_path / "nothing")

    class Process:
        command = [server.binary, "creds", "--format", "process", "--cache-dir", str(tmp_path / "cache"), "--access", "read-write", "--whole-bucket", "s3://lake"]
        env = {
            "VALETKEY_SERVER": server.api,
            "VALETKEY_TOKEN": caller.token,
            "LD_PRELOAD": str(server.shim),
            "FAULTS": str(clock.path),
        }

        def __init__(self):
            self.clock, self.caller = clock, caller

        def __call__(self) -> str:
            done = subprocess.run(self.command, env=os.environ | self.env, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done
            said = json.loads(done.stdout)
            server.secrets.add(said["SecretAccessKey"])
            return said["AccessKeyId"]

    return Process()


def revoke(server, caller) -> None:
    who = {"caller": f"{caller.account}/{caller.name}"}
    assert server.call("POST", "/api/v1/revocations", server.admin_token, who).status == 200


class TestCredentialProcess:
    def test_keeps_what_is_good(self, process):
        first = process()
        assert process() == first
        process.clock.step_clock(61)
        assert process() == first

    def test_goes_on_with_what_it_has_while_the_server_is_away(self, server, process):
        first = process()
        process.clock.step_clock(61)
        server.stop()
        try:
            assert process() == first
        finally:
            server.start()
