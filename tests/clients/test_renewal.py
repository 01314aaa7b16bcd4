"""A key is ended while its user runs: who asks for another by itself, and what makes the others do it.

`docs/cli.md` says what is held here. Keys come from `credential_process`, as the AWS command line and SDKs read it.
"""

import json
import os
import pathlib
import subprocess

import boto3
import botocore.session
import obstore
import pytest
import s3fs
from botocore.config import Config
from botocore.exceptions import ClientError, CredentialRetrievalError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from harness import FLIGHTS, demo_bytes

HERE = pathlib.Path(__file__).parent
PLAIN = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})


class Profile:
    """A profile of AWS's configuration whose keys come from the command line."""

    def __init__(self, server, caller, directory):
        self.server, self.caller, self.cache = server, caller, directory / "cache"
        config = directory / "config"
        command = f"{server.binary} creds s3://{caller.bucket}/{caller.prefix} --ttl 1h --format process"
        config.write_text(
            f"[profile flights]\ncredential_process = {command}\nendpoint_url = {server.s3}\nregion = us-east-1\n"
            "s3 =\n  addressing_style = path\n"
        )
        self.env = {
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_PROFILE": "flights",
            "VALETKEY_S3": server.s3,
            "VALETKEY_SERVER": server.api,
            "VALETKEY_TOKEN": caller.token,
            "VALETKEY_CACHE_DIR": str(self.cache),
        }

    def end(self):
        """Ends what was vended to the command line, a while ago as far as the kept keys are concerned."""
        files = list(self.cache.glob("*.json"))
        assert files
        for file in files:
            kept = json.loads(file.read_text())
            lease = {"lease": kept["credential"]["lease_id"]}
            answer = self.server.call("POST", "/api/v1/revocations", self.server.admin_token, lease)
            assert answer.json()["ended"] == 1, answer
            kept["vended"] -= 120
            kept["asked"] -= 120 if kept["asked"] else 0
            file.write_text(json.dumps(kept))


@pytest.fixture
def profile(server, reader, tmp_path, monkeypatch):
    profile = Profile(server, reader, tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in profile.env.items():
        monkeypatch.setenv(name, value)
    return profile


def read(client, bucket):
    return client.get_object(Bucket=bucket, Key=FLIGHTS)["Body"].read()


def client():
    # A session of its own: the default one keeps its credentials.
    return boto3.Session().client("s3", config=PLAIN)


class TestEachCall:
    def test_of_the_command_line_asks_anew(self, profile):
        line = ["aws", "s3", "cp", "--quiet", f"s3://{profile.caller.bucket}/{FLIGHTS}", "-"]
        assert subprocess.run(line, check=True, capture_output=True).stdout == demo_bytes(profile.caller.bucket, FLIGHTS)
        profile.end()
        assert subprocess.run(line, check=True, capture_output=True).stdout == demo_bytes(profile.caller.bucket, FLIGHTS)

    def test_of_rclone_asks_anew(self, profile):
        remote = f":s3,provider=Other,env_auth,force_path_style,endpoint='{profile.server.s3}':"
        line = ["rclone", "cat", f"{remote}{profile.caller.bucket}/{FLIGHTS}", "--config", os.devnull]
        for _ in range(2):
            done = subprocess.run(line, capture_output=True)
            assert done.stdout == demo_bytes(profile.caller.bucket, FLIGHTS), done.stderr.decode()
            profile.end()


class TestBoto3:
    def test_stays_on_the_ended_key_until_another_session_is_made(self, profile):
        bucket, s3 = profile.caller.bucket, client()
        assert read(s3, bucket) == demo_bytes(bucket, FLIGHTS)
        profile.end()
        for _ in range(2):
            with pytest.raises(ClientError, match=r"\(ExpiredToken\)"):
                read(s3, bucket)
        assert read(client(), bucket) == demo_bytes(bucket, FLIGHTS)

    def test_goes_on_with_a_handler_that_asks_anew(self, profile):
        bucket = profile.caller.bucket
        session = botocore.session.get_session()
        renew_when_ended(session)
        s3 = boto3.Session(botocore_session=session).client("s3", config=PLAIN)
        assert read(s3, bucket) == demo_bytes(bucket, FLIGHTS)
        profile.end()
        assert read(s3, bucket) == demo_bytes(bucket, FLIGHTS)
        profile.end()
        assert s3.head_object(Bucket=bucket, Key=FLIGHTS)["ContentLength"] == len(demo_bytes(bucket, FLIGHTS))

    def test_and_is_refused_once_when_nothing_is_vended_any_more(self, profile, server):
        session = botocore.session.get_session()
        renew_when_ended(session)
        s3 = boto3.Session(botocore_session=session).client("s3", config=PLAIN)
        read(s3, profile.caller.bucket)
        profile.end()
        os.environ["VALETKEY_TOKEN"] = "vkt_0000000000000000000000000000000000000000000_000000"
        with pytest.raises(CredentialRetrievalError, match="not one of this server"):
            read(s3, profile.caller.bucket)


def renew_when_ended(session, profile="flights"):
    """Makes the clients of a botocore session ask for other keys when theirs have ended, early or in time."""

    def keys():
        return botocore.session.Session(profile=profile).get_credentials().get_frozen_credentials()

    def renew(response, attempts, **_):
        code = response and response[1].get("Error", {}).get("Code")
        # The answer to HEAD has no body: there the status stands for the code.
        if attempts == 1 and code in ("ExpiredToken", "400"):
            own, other = session.get_credentials(), keys()
            own.access_key, own.secret_key, own.token = other.access_key, other.secret_key, other.token
            return 0
        return None

    first = keys()
    session.set_credentials(first.access_key, first.secret_key, first.token)
    session.register("needs-retry.s3", renew)


class TestS3fs:
    def test_stays_on_the_ended_key_until_another_is_made(self, profile):
        bucket = profile.caller.bucket
        path, content = f"{bucket}/{FLIGHTS}", demo_bytes(bucket, FLIGHTS)

        def files():
            return s3fs.S3FileSystem(profile="flights", skip_instance_cache=True, config_kwargs={"s3": {"addressing_style": "path"}})

        one = files()
        assert one.cat_file(path) == content
        profile.end()
        # It begins with HEAD, whose answer has no body to name the reason.
        with pytest.raises(OSError, match="Bad Request|ExpiredToken"):
            one.cat_file(path)
        assert files().cat_file(path) == content


class TestObjectStore:
    """Rust's object_store, which Polars and delta-rs are built on too."""

    def test_stays_on_the_ended_key_until_another_store_is_made(self, profile):
        bucket = profile.caller.bucket

        def store():
            provider = Boto3CredentialProvider(boto3.Session())
            return S3Store(
                bucket,
                endpoint=profile.server.s3,
                region="us-east-1",
                client_options={"allow_http": True},
                retry_config={"max_retries": 0},
                credential_provider=provider,
            )

        one = store()
        assert bytes(obstore.get(one, FLIGHTS).bytes()) == demo_bytes(bucket, FLIGHTS)
        profile.end()
        with pytest.raises(Exception, match="ExpiredToken"):
            obstore.get(one, FLIGHTS)
        assert bytes(obstore.get(store(), FLIGHTS).bytes()) == demo_bytes(bucket, FLIGHTS)


class TestJavaScript:
    def test_stays_on_the_ended_key_until_another_client_is_made(self, profile):
        script = HERE / "renewal.mjs"
        line = ["node", str(script), profile.caller.bucket, FLIGHTS]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
            assert node.stdout.readline().strip() == "read"
            profile.end()
            said, _ = node.communicate("go\n", timeout=60)
        assert said.split() == ["ExpiredToken", "read"]
