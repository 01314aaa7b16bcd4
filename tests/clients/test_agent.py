"""The agent: clients that renew by themselves for three lifetimes, every form it answers in, and who it does not answer.

`valetkey exec` runs one agent for one command, `valetkey agent` one for a user; `docs/agent.md` says what is held here.
"""

import contextlib
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time

import boto3
import pytest
from azure.identity import ManagedIdentityCredential
from botocore.credentials import InstanceMetadataFetcher, InstanceMetadataProvider

from harness import FLIGHTS, demo_bytes
from upstream import CONTENT, Upstream

HERE = pathlib.Path(__file__).parent
LIFE = 10
AS_OTHER = {"user": 65534, "group": 65534, "extra_groups": []}


class Agent:
    """`valetkey agent` on a free port, in a directory of its own."""

    def __init__(self, binary, server, token, directory, *args):
        self.binary, self.directory = binary, directory
        self.log = directory.with_suffix(".log")
        self.env = os.environ | {"VALETKEY_SERVER": server, "VALETKEY_AGENT_DIR": str(directory)}
        command = [binary, "agent", *args]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=self.env | {"VALETKEY_TOKEN": token}, text=True)
        assert select.select([self.process.stderr], [], [], 30)[0], "the agent says nothing"
        line = self.process.stderr.readline()
        assert "serving on http://127.0.0.1:" in line, line
        self.port = int(line.split("http://127.0.0.1:")[1].split()[0])
        os.set_blocking(self.process.stderr.fileno(), False)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        self.process.stderr.close()

    def cli(self, *args):
        return subprocess.run([self.binary, "agent", *args], env=self.env, capture_output=True, text=True, timeout=60)

    def variables(self, *target):
        """What `agent env` sets."""
        done = self.cli("env", "--format", "dotenv", *target)
        assert done.returncode == 0, done.stderr
        return {name: value.strip("'\"") for name, value in (line.split("=", 1) for line in done.stdout.splitlines())}

    def url(self, *target):
        return self.variables(*target)["AWS_CONTAINER_CREDENTIALS_FULL_URI"].split(str(self.port), 1)[1]

    def ask(self, path, headers=(), method="GET", host=None):
        return ask(self.port, path, headers, method, host)


def ask(port, path, headers=(), method="GET", host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host or f"127.0.0.1:{port}", **dict(headers)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, dict((name.lower(), value) for name, value in answer.headers.items()), body


@pytest.fixture
def started(server, tmp_path):
    """Starts agents of a caller."""
    with contextlib.ExitStack() as stack:
        numbers = iter(range(100))

        def start(token, *args, at=None, directory=None):
            directory = directory or tmp_path / f"agent-{next(numbers)}"
            agent = Agent(server.binary, at or server.api, token, directory, *args)
            stack.callback(lambda: agent.process.poll() is None and agent.stop())
            return agent

        yield start


def execute(server, token, *args, at=None, tmp_path, **popen):
    env = os.environ | {"VALETKEY_SERVER": at or server.api, "VALETKEY_TOKEN": token, "VALETKEY_AGENT_DIR": str(tmp_path / "exec")}
    env |= popen.pop("env", {})
    command = [server.binary, "exec", *args]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)


def of_grant(server, caller):
    grants = server.call("GET", "/api/v1/grants", caller.token).json()["grants"]
    return next(grant["name"] for grant in grants if grant["bucket"] == caller.bucket)


@pytest.fixture(scope="session")
def grant(server, reader):
    return of_grant(server, reader)


def test_every_client_goes_on_for_three_lifetimes(server, reader, grant, tmp_path):
    seconds = 3 * LIFE + 2
    clients = ["boto3", "awscli", "awscli2", "rclone", "s3fs", "obstore", "polars", "pyarrow", "duckdb"]
    lines = {name: [sys.executable, str(HERE / "renewing.py"), name, str(seconds), reader.bucket, FLIGHTS] for name in clients}
    lines["javascript"] = ["node", str(HERE / "renewing.mjs"), str(seconds), reader.bucket, FLIGHTS]
    before = {lease["lease_id"] for lease in leases(server, reader)}
    with Upstream("google", LIFE) as gcs:
        running = {
            name: execute(server, reader.token, grant, "--ttl", f"{LIFE}s", "--", *line, tmp_path=tmp_path / name)
            for name, line in lines.items()
        }
        for name in ("google", "obstore_google", "rclone_google"):
            line = [sys.executable, str(HERE / "renewing.py"), name, str(seconds), "lake", "daily/x"]
            there = {"at": gcs.url, "env": {"FAKE_GCS": gcs.url}}
            running[name] = execute(server, "vkt_x", "daily", "--", *line, tmp_path=tmp_path / name, **there)
        for name, process in running.items():
            out, errors = process.communicate(timeout=120)
            assert process.returncode == 0, f"{name}: {errors}"
            # A command that is started for each read takes seconds on a slow machine: it read at the start, and after an expiry.
            assert int(out) >= 2, f"{name} read {out} times only"
        assert gcs.asked >= 3 * 3
    vended = [lease for lease in leases(server, reader) if lease["lease_id"] not in before]
    # At least once for each lifetime of each; and nothing lives on when its command has ended.
    assert len(vended) >= 3 * len(lines)
    assert not [lease for lease in vended if lease["state"] == "live"]


def test_clients_of_containers_go_on_for_three_lifetimes(server, tmp_path):
    """ECS's relative URI and EKS Pod Identity, at the addresses that only containers have: in a network of the test's own."""
    line = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), sys.executable, str(HERE / "isolated.py")]
    line += [server.binary, str(tmp_path), str(3 * LIFE + 2), str(LIFE)]
    done = subprocess.run(line, cwd=HERE, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["read"].keys() == {f"{form} {client}" for form in ("ecs", "eks") for client in ("boto3", "obstore", "pyarrow")}
    assert all(count >= 5 for count in told["read"].values()), told
    # Of each form at least one for each lifetime; both forms may share one.
    assert told["leases"] >= 3, told


def leases(server, caller):
    return server.call("GET", "/api/v1/leases?limit=500", caller.token).json()["leases"]


class TestExec:
    def run(self, server, reader, grant, tmp_path, *line, args=(), **popen):
        process = execute(server, reader.token, grant, *args, "--", *line, tmp_path=tmp_path, **popen)
        out, errors = process.communicate(timeout=60)
        return process.returncode, out, errors

    def test_the_exit_code_is_the_commands(self, server, reader, grant, tmp_path):
        for line, code in [(["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["/nowhere"], 127), ([str(HERE)], 126)]:
            assert self.run(server, reader, grant, tmp_path, *line)[0] == code, line

    def test_what_would_win_is_taken_away_and_the_login_with_it(self, server, reader, grant, tmp_path):
        shadow = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_PROFILE": "x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/x", "AWS_SESSION_TOKEN": "t"}
        code, out, _ = self.run(server, reader, grant, tmp_path, "env", env=shadow)
        env = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        assert code == 0 and not env.keys() & (shadow.keys() | {"VALETKEY_TOKEN", "VALETKEY_TOKEN_FILE"}), env
        assert env["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
        assert reader.token not in out

    def test_a_default_profile_does_not_win(self, server, reader, grant, tmp_path):
        (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = x\n")
        script = "import boto3; print(boto3.Session().get_credentials().get_frozen_credentials().access_key)"
        env = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
        code, out, errors = self.run(server, reader, grant, tmp_path, sys.executable, "-c", script, env=env)
        assert code == 0 and out.startswith("VK"), errors

    def test_signals_reach_the_command_and_what_it_started(self, server, reader, grant, tmp_path):
        # Until it is `sleep`, it is a shell that has the trap of its parent.
        script = "trap 'echo ended; exit 3' TERM; sleep 60 & until grep -q sleep /proc/$!/comm; do :; done; echo ready; wait"
        process = execute(server, reader.token, grant, "--", "sh", "-c", script, tmp_path=tmp_path, stdin=subprocess.DEVNULL)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
        assert (process.returncode, out) == (3, "ended\n")

    def test_nothing_lives_on_when_it_has_ended(self, server, reader, grant, tmp_path):
        known = {lease["lease_id"] for lease in leases(server, reader)}
        code, out, _ = self.run(server, reader, grant, tmp_path, "sh", "-c", "echo $AWS_CONTAINER_CREDENTIALS_FULL_URI $AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        url, file = out.split()
        [lease] = [lease for lease in leases(server, reader) if lease["lease_id"] not in known]
        assert code == 0 and lease["state"] == "revoked"
        assert not pathlib.Path(file).exists()
        with pytest.raises(ConnectionRefusedError):
            ask(int(url.split(":")[2].split("/")[0]), "/")

    def test_static_variables_are_for_tools_that_read_nothing_else(self, server, reader, grant, tmp_path):
        script = "import os, boto3; print(len(boto3.client('s3').get_object(Bucket='flights-lake', Key=os.environ['KEY'])['Body'].read()))"
        line = [sys.executable, "-c", script]
        code, out, errors = self.run(server, reader, grant, tmp_path, *line, args=["--static"], env={"KEY": FLIGHTS})
        assert (code, int(out or 0)) == (0, len(demo_bytes("flights-lake", FLIGHTS))), errors

    def test_a_refusal_comes_before_the_command(self, server, stranger, grant, tmp_path):
        code, out, errors = self.run(server, stranger, grant, tmp_path, "echo", "ran")
        assert (code, out) == (5, "") and "no such grant" in errors

    def test_without_a_login_the_running_agent_is_asked(self, server, reader, grant, started, tmp_path):
        agent = started(reader.token)
        env = {"VALETKEY_AGENT_DIR": str(agent.directory)}
        line = ["sh", "-c", "curl -s $AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        process = execute(server, "", grant, "--", *line, tmp_path=tmp_path, env=env)
        out, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and "AccessKeyId" in json.loads(out), errors
        agent.stop()
        process = execute(server, "", grant, "--", *line, tmp_path=tmp_path, env=env)
        assert "there is no token" in process.communicate(timeout=30)[1] and process.returncode == 3


class TestForms:
    """Each as its clients ask for it."""

    @pytest.fixture
    def agent(self, started, reader, grant):
        return started(reader.token, grant)

    def test_container_credentials(self, agent, grant):
        variables = agent.variables(grant)
        url, token = agent.url(grant), pathlib.Path(variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text()
        bare = "/" + url.split("/", 2)[2]
        asked = [
            agent.ask(url),
            agent.ask(bare, {"Authorization": token}),
            agent.ask("/v1/credentials", {"Authorization": token}),
            agent.ask("/v2/credentials/x", {"Authorization": f"Bearer {token}"}),
        ]
        for status, headers, body in asked:
            answer = json.loads(body)
            assert (status, headers["cache-control"]) == (200, "no-store")
            assert answer.keys() == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
            assert answer["Expiration"].endswith("Z") and "." not in answer["Expiration"]
        assert len({body for _, _, body in asked}) == 1, "one vend for many readers"

    def test_credential_process(self, agent, grant, tmp_path):
        config = tmp_path / "config"
        config.write_text(
            f"[profile a]\ncredential_process = {agent.binary} agent process {grant} --agent-dir {agent.directory}\n"
        )
        env = os.environ | {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "a"}
        script = "import boto3; print(boto3.Session().get_credentials().get_frozen_credentials().access_key)"
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
        assert done.stdout.startswith("VK"), done.stderr
        refused = agent.cli("process", "nothing-of-that-name")
        assert refused.returncode == 4 and "no such grant" in refused.stderr

    def test_the_instance_metadata_service(self, agent, grant):
        fetcher = InstanceMetadataFetcher(base_url=f"http://127.0.0.1:{agent.port}/", env={})
        credentials = InstanceMetadataProvider(iam_role_fetcher=fetcher).load()
        assert credentials.get_frozen_credentials().access_key.startswith("VK")
        put = lambda **headers: agent.ask("/latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": "60"} | headers, "PUT")
        status, headers, session = put()
        assert (status, headers["x-aws-ec2-metadata-token-ttl-seconds"]) == (200, "60")
        in_session = {"x-aws-ec2-metadata-token": session.decode()}
        path = "/latest/meta-data/iam/security-credentials"
        assert agent.ask(path, in_session)[2] == agent.ask(path + "/", in_session)[2] == b"valetkey"
        assert json.loads(agent.ask(path + "/valetkey", in_session)[2])["Code"] == "Success"
        assert agent.ask(path)[0] == agent.ask(path, {"x-aws-ec2-metadata-token": "1.a"})[0] == 401
        assert agent.ask("/latest/api/token", method="PUT")[0] == 400
        assert put(**{"X-Forwarded-For": "10.0.0.1"})[0] == 403
        assert agent.ask("/latest/api/token")[0] == 404
        assert agent.ask("/latest/meta-data/nothing", in_session)[0] == 404

    def test_short_lives_are_not_for_the_instance_metadata_service(self, started, reader, grant):
        agent = started(reader.token, grant, "--ttl", "15m")
        session = agent.ask("/latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")[2].decode()
        headers = {"x-aws-ec2-metadata-token": session}
        status, _, body = agent.ask("/latest/meta-data/iam/security-credentials/valetkey", headers)
        assert status == 403 and "minutes to live" in json.loads(body)["Message"]

    def test_googles_metadata_server(self, started, reader):
        with Upstream("google", 3600) as gcs:
            agent = started("vkt_x", "daily", at=gcs.url)
            flavor = {"Metadata-Flavor": "Google"}
            account = "/computeMetadata/v1/instance/service-accounts/default/"
            status, headers, body = agent.ask(account + "token?scopes=a%2Cb", flavor)
            token = json.loads(body)
            assert (status, headers["metadata-flavor"], token["token_type"]) == (200, "Google", "Bearer")
            assert 3500 < token["expires_in"] <= 3600 and token["access_token"] in gcs.ends
            assert json.loads(agent.ask(account + "?recursive=true", flavor)[2])["aliases"] == ["default"]
            assert agent.ask("/computeMetadata/v1/project/project-id", flavor)[0] == 200
            assert agent.ask(account + "identity?audience=x", flavor)[0] == 404
            assert agent.ask(account + "token")[0] == 403
            other = agent.variables("other")
            assert other["GCE_METADATA_HOST"] != f"127.0.0.1:{agent.port}", "another grant has a door of its own"
            port = int(other["GCE_METADATA_HOST"].split(":")[1])
            assert json.loads(ask(port, account + "token", flavor)[2])["access_token"] != token["access_token"]

    def test_a_managed_identity_of_azure_is_told_what_there_is_instead(self, started, monkeypatch):
        with Upstream("azure", 3600) as azure:
            agent = started("vkt_x", "daily", at=azure.url)
            done = agent.cli("env", "daily")
            assert "AZURE_STORAGE_SAS_TOKEN='sv=1&sig=" in done.stdout and "does not renew" in done.stderr
            query = "?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com"
            status, _, body = agent.ask("/metadata/identity/oauth2/token" + query, {"Metadata": "true"})
            assert (status, json.loads(body)["error"]) == (400, "invalid_request")
            assert agent.ask("/metadata/identity/oauth2/token" + query)[0] == 400
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{agent.port}/azure/token")
            monkeypatch.setenv("IDENTITY_HEADER", "x")
            with pytest.raises(Exception, match="shared access signature"):
                ManagedIdentityCredential().get_token("https://storage.azure.com/.default")


class TestRefused:
    @pytest.fixture
    def agent(self, started, reader, grant):
        return started(reader.token, grant)

    def test_without_a_secret_or_with_another(self, agent, grant):
        assert agent.ask(agent.url(grant))[0] == 200
        for headers in ({}, {"Authorization": "wrong"}, {"Authorization": "Bearer "}):
            status, _, body = agent.ask("/container", headers)
            assert status == 401 and json.loads(body)["code"] == json.loads(body)["Code"] == "unauthorized"
        assert agent.ask("/" + "a" * 26 + "/container")[0] == 404
        for own in ("/process", "/env", "/status"):
            assert agent.ask(own)[0] == 401, "over the socket alone"

    def test_a_secret_opens_its_own_ask_alone(self, agent, grant):
        url = agent.url(grant, "--ttl", "15m")
        assert agent.ask(url)[0] == 200
        assert agent.ask(url.split("?")[0] + "?grant=another")[0] == 404

    def test_another_host(self, agent, grant):
        url = agent.url(grant)
        assert agent.ask(url, host=f"localhost:{agent.port}")[0] == 200
        for host in ("rebound.example", f"rebound.example:{agent.port}", "127.0.0.1"):
            assert agent.ask(url, host=host)[0] == 403, host
        for odd in ("Origin", "Sec-Fetch-Site", "X-Forwarded-For"):
            assert agent.ask(url, {odd: "x"})[0] == 403, odd

    def test_its_files_are_its_users_alone(self, agent, grant):
        agent.variables(grant)
        assert agent.directory.stat().st_mode & 0o777 == 0o700
        for path in agent.directory.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path

    def test_a_second_agent(self, agent):
        done = agent.cli()
        assert done.returncode == 3, "it needs a login first"
        done = subprocess.run([agent.binary, "agent"], env=agent.env | {"VALETKEY_TOKEN": "vkt_x"}, capture_output=True, text=True)
        assert done.returncode == 6 and "running already" in done.stderr

    def test_addresses_that_others_reach(self, server, reader, tmp_path):
        env = os.environ | {"VALETKEY_TOKEN": reader.token, "VALETKEY_AGENT_DIR": str(tmp_path / "a")}
        done = subprocess.run([server.binary, "agent", "--listen", "0.0.0.0:0"], env=env, capture_output=True, text=True)
        assert done.returncode == 2 and "other machines" in done.stderr

    def test_a_removed_grant_is_said_in_each_form(self, server, started, reader):
        scope = {"bucket": reader.bucket, "prefix": reader.prefix}
        made = server.make("grants", name="passing", account="acme", to=reader.name, **scope)
        agent = started(reader.token, "passing", "--ttl", "4s")
        url = agent.url("passing", "--ttl", "4s")
        assert agent.ask(url)[0] == 200
        assert server.call("DELETE", f"/api/v1/grants/{made['id']}", server.admin_token).status == 200
        # The agent notices when it renews, within the credential's lifetime.
        end = time.monotonic() + 8
        while (answer := agent.ask(url))[0] == 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert answer[0] == 403 and "no such grant" in json.loads(answer[2])["message"]
        done = agent.cli("process", "passing")
        assert done.returncode == 4 and "no such grant" in done.stderr, done
        account = "/computeMetadata/v1/instance/service-accounts/default/token"
        status, _, body = agent.ask(account, {"Metadata-Flavor": "Google"})
        assert status == 403 and "no such grant" in json.loads(body)["error_description"]


# Only root can act as somebody else; for others, the tests of `guard.rs` say whose a connection is.
if os.geteuid() == 0:

    class TestAnotherUser:
        @pytest.fixture
        def agent(self, started, reader, grant):
            return started(reader.token, grant)

        @pytest.mark.parametrize("path", ["/latest/api/token", "/computeMetadata/v1/project/project-id"])
        def test_is_not_answered(self, agent, path):
            method, header = ("PUT", "x-aws-ec2-metadata-token-ttl-seconds: 60") if "api/token" in path else ("GET", "Metadata-Flavor: Google")
            line = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "-H", header, f"http://127.0.0.1:{agent.port}{path}"]
            assert subprocess.run(line, capture_output=True, text=True).stdout == "200"
            assert subprocess.run(line, capture_output=True, text=True, **AS_OTHER).stdout == "401"
            reach = ["curl", "-s", "--unix-socket", str(agent.directory / "agent.sock"), "http://localhost/status"]
            assert subprocess.run(reach, capture_output=True).returncode == 0
            assert subprocess.run(reach, capture_output=True, **AS_OTHER).returncode == 7

        def test_takes_half_of_the_room_at_most(self, agent, grant):
            url = agent.url(grant)
            hold = (
                "import socket, sys, time; held = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(200)]\n"
                "[one.sendall(b'GET / HTTP/1.1') for one in held[:32]]; print('held', flush=True); time.sleep(60)"
            )
            holding = subprocess.Popen(
                ["/usr/bin/python3", "-c", hold, str(agent.port)], stdout=subprocess.PIPE, **AS_OTHER
            )
            try:
                assert holding.stdout.readline() == b"held\n"
                began = time.monotonic()
                assert agent.ask(url)[0] == 200 and time.monotonic() - began < 10
            finally:
                holding.kill()
                holding.communicate()


class TestUpstream:
    """Servers that are away, slow, or lie."""

    def test_what_is_valid_outlives_the_server_and_goes_on_with_the_next(self, started):
        life = 2 * LIFE
        upstream = Upstream("s3", life)
        agent = started("vkt_x", "daily", at=upstream.url)
        url = agent.url("daily")
        first = agent.ask(url)[2]
        with upstream:
            pass
        assert agent.ask(url)[2] == first
        assert agent.cli("process", "other").returncode == 8
        with Upstream("s3", life, port=upstream.http.server_port) as following:
            # Before the first one's life is over, and without being told.
            end = time.monotonic() + life
            while (kept := json.loads(agent.ask(url)[2]))["Token"] not in following.ends:
                assert kept["Token"] in upstream.ends and time.monotonic() < end, kept
                time.sleep(0.05)
            assert following.asked >= 1

    def test_what_was_read_is_renewed_ahead(self, started):
        with Upstream("s3", LIFE) as upstream:
            agent = started("vkt_x", "daily", at=upstream.url)
            first = agent.ask(agent.url("daily"))[2]
            end = time.monotonic() + LIFE / 2
            while upstream.asked < 2:
                assert time.monotonic() < end, "nothing was vended before half of the lifetime"
                time.sleep(0.05)
            assert agent.ask(agent.url("daily"))[2] != first

    def test_many_readers_are_one_vend(self, started):
        with Upstream("s3", 3600) as upstream:

            def slowly(handler):
                time.sleep(0.5)
                handler.reply(200, json.dumps(upstream.vend()).encode())

            upstream.answer = slowly
            agent = started("vkt_x", "daily", at=upstream.url)
            asking = [subprocess.Popen([agent.binary, "agent", "process", "daily"], env=agent.env, stdout=subprocess.PIPE) for _ in range(12)]
            keys = {json.loads(process.communicate(timeout=30)[0])["AccessKeyId"] for process in asking}
            assert len(keys) == 1 and upstream.asked == 1

    @pytest.mark.parametrize(
        "answer",
        [
            lambda handler: handler.reply(200, b"<html>Sign in</html>", "text/html"),
            lambda handler: handler.reply(500, b"no"),
            lambda handler: handler.reply(200, b"{}"),
            lambda handler: handler.reply(200, b"x" * (70 * 1024 * 1024)),
            lambda handler: handler.connection.close(),
        ],
        ids=["html", "broken", "empty", "huge", "silent"],
    )
    def test_an_answer_that_is_none_harms_neither_the_agent_nor_what_it_keeps(self, started, answer):
        with Upstream("s3", LIFE) as upstream:
            agent = started("vkt_x", "daily", at=upstream.url)
            url = agent.url("daily")
            assert agent.ask(url)[0] == 200
            upstream.answer = answer
            status, _, body = agent.ask(url)
            assert status == 200
            done = agent.cli("process", "other")
            assert done.returncode == 8 and done.stdout == "", done
            upstream.answer = None
            assert agent.ask(url)[0] == 200

    def test_a_credential_that_is_over_is_none(self, started):
        with Upstream("s3", -5) as upstream:
            agent = started("vkt_x", "daily", at=upstream.url)
            done = agent.cli("process", "daily")
            assert done.returncode == 8 and "clock" in done.stderr, done

    def test_clients_that_hold_back_keep_nobody_out(self, started, reader, grant):
        agent = started(reader.token, grant)
        url = agent.url(grant)
        held = [socket.create_connection(("127.0.0.1", agent.port)) for _ in range(60)]
        for one in held:
            one.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert agent.ask(url)[0] == 200
        large = {f"x-{number}": "x" * 200 for number in range(80)}
        assert agent.ask(url, large)[0] == 431
        for one in held:
            one.close()
