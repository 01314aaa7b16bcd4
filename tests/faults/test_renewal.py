"""Keys that were ended while a program held on to them: who asks for new ones gets new ones."""

import json
import os
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError

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

    def test_does_not_go_on_with_what_was_ended(self, server, process):
        first = process()
        revoke(server, process.caller)
        process.clock.step_clock(61)
        assert process() != first

    def test_goes_on_with_what_it_has_while_the_server_is_away(self, server, process):
        first = process()
        process.clock.step_clock(61)
        server.stop()
        try:
            assert process() == first
        finally:
            server.start()

    def test_gives_boto3_a_key_that_works_again(self, server, process, tmp_path, monkeypatch):
        command = " ".join(process.command)
        (tmp_path / "config").write_text(f"[profile flights]\ncredential_process = {command}\nregion = auto\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        for name in ("VALETKEY_SERVER", "VALETKEY_TOKEN"):
            monkeypatch.setenv(name, process.env[name])

        def s3():
            return boto3.Session(profile_name="flights").client("s3", endpoint_url=server.s3)

        running = s3()
        running.put_object(Bucket="lake", Key="renewed", Body=b"renewed")
        revoke(server, process.caller)
        with pytest.raises(ClientError, match="ExpiredToken"):
            running.get_object(Bucket="lake", Key="renewed")
        process.clock.step_clock(61)
        monkeypatch.setenv("LD_PRELOAD", process.env["LD_PRELOAD"])
        monkeypatch.setenv("FAULTS", process.env["FAULTS"])
        assert s3().get_object(Bucket="lake", Key="renewed")["Body"].read() == b"renewed"
