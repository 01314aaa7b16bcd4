"""`valetkey configure` and `valetkey doctor`: what is written, that the tools work with it, and what is found."""

import contextlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization

from harness import FLIGHTS, demo_bytes
from test_agent import of_grant
from test_sts import certificate
from upstream import CONTENT, Upstream


@pytest.fixture
def cli(server, reader, tmp_path):
    """The command line with a home of its own, and the reader's token in a file."""
    token = tmp_path / "token"
    token.write_text(reader.token)
    token.chmod(0o600)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "XDG_", "VALETKEY_"))}
    env |= {"HOME": str(tmp_path), "VALETKEY_SERVER": server.api, "VALETKEY_TOKEN_FILE": str(token)}

    def run(*line, ok=True, **more):
        done = subprocess.run([server.binary, *line], env=env | more, capture_output=True, text=True, timeout=60)
        assert not ok or done.returncode == 0, done.stderr
        return done

    run.env = env
    return run


@pytest.fixture(scope="session")
def grant(server, reader):
    return of_grant(server, reader)


def output(cli, *line):
    env = {name: value for name, value in cli.env.items() if not name.startswith("VALETKEY_")}
    done = subprocess.run(line, env=env, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class TestConfigure:
    def test_aws_works_without_a_variable_and_leaves_no_trace(self, cli, grant, reader, tmp_path):
        config = tmp_path / ".aws/config"
        config.parent.mkdir()
        config.write_text("[default]\nregion = eu-west-1\n")
        shown = cli("configure", "aws", grant, "--profile", "flights", "--dry-run").stdout
        assert "+ [profile flights]" in shown and "eu-west-1" not in shown
        assert config.read_text() == "[default]\nregion = eu-west-1\n", "a dry run writes nothing"
        cli("configure", "aws", grant, "--profile", "flights")
        written = config.read_text()
        assert reader.token not in written and written.startswith("[default]\nregion = eu-west-1\n")
        again = cli("configure", "aws", grant, "--profile", "flights")
        assert config.read_text() == written and "nothing is to be changed" in again.stderr
        line = ["aws", "--profile", "flights", "s3", "cp", "--quiet", f"s3://{reader.bucket}/{FLIGHTS}", "-"]
        assert output(cli, *line) == demo_bytes(reader.bucket, FLIGHTS)
        cli("configure", "aws", "--profile", "flights", "--remove")
        assert config.read_text() == "[default]\nregion = eu-west-1\n"

    def test_what_a_user_wrote_is_not_touched(self, cli, grant, tmp_path):
        config = tmp_path / ".aws/config"
        config.parent.mkdir()
        config.write_text("[profile flights]\nregion = mine\n")
        done = cli("configure", "aws", grant, "--profile", "flights", ok=False)
        assert done.returncode == 6 and "--profile" in done.stderr
        assert config.read_text() == "[profile flights]\nregion = mine\n"
        cli("configure", "aws", "--profile", "flights", "--remove")
        assert config.read_text() == "[profile flights]\nregion = mine\n"

    def test_rclone(self, cli, grant, reader, tmp_path):
        cli("configure", "rclone", grant, "--profile", "flights")
        assert (tmp_path / ".config/rclone/rclone.conf").stat().st_mode & 0o777 == 0o600
        assert output(cli, "rclone", "cat", f"flights:{reader.bucket}/{FLIGHTS}") == demo_bytes(reader.bucket, FLIGHTS)

    def test_duckdb(self, cli, grant, reader, tmp_path):
        cli("configure", "duckdb", f"s3://{reader.bucket}/{reader.prefix}", "--profile", "flights")
        script = """
import duckdb, pathlib, sys
from importlib.resources import files
db = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
for name in ("httpfs", "aws"):
    db.execute(f"LOAD '{files(f'duckdb_extension_{name}') / 'extensions' / f'v{duckdb.__version__}' / f'{name}.duckdb_extension'}'")
db.execute(pathlib.Path("~/.duckdbrc").expanduser().read_text())
print(db.execute(f"SELECT count(*) FROM read_parquet('{sys.argv[1]}')").fetchone()[0])
"""
        assert int(output(cli, sys.executable, "-c", script, f"s3://{reader.bucket}/{FLIGHTS}")) > 0

    def test_polars(self, cli, grant, reader):
        said = cli("configure", "polars", grant, "--profile", "flights").stderr
        line = next(line for line in said.splitlines() if "scan_parquet" in line).removeprefix("to use it: ")
        line = line.replace('"aws_endpoint_url"', '"aws_allow_http": "true", "aws_endpoint_url"').replace(f"{reader.prefix}/", FLIGHTS, 1)
        assert int(output(cli, sys.executable, "-c", f"import polars as pl; print({line}.collect().height)")) > 0

    @pytest.mark.parametrize(
        "tool, files",
        [
            ("aws", [".aws/config"]),
            ("polars", [".aws/config"]),
            ("rclone", [".aws/config", ".config/rclone/rclone.conf"]),
            ("duckdb", [".aws/config", ".duckdbrc"]),
            ("dvc", [".aws/config", ".config/dvc/config"]),
            ("spark", [".aws/config", "spark/conf/spark-defaults.conf"]),
            ("s3cmd", [".s3cfg-flights"]),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_second_time_changes_nothing_and_removing_shows_and_leaves_no_trace(self, cli, grant, tmp_path, tool, files):
        spark, paths, own = {"SPARK_HOME": str(tmp_path / "spark")}, [tmp_path / file for file in files], ["--profile", "flights"]
        comment = "-- mine\n" if tool == "duckdb" else "# mine\n"
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(comment)
        read = lambda: [path.read_text() for path in paths]
        dry = cli("configure", tool, grant, *own, "--dry-run", **spark).stdout
        assert read() == [comment] * len(paths), "a dry run writes nothing"
        put = cli("configure", tool, grant, *own, **spark).stdout
        # Those that are written show each line with a plus, and nothing that was there.
        assert put == dry and all(f"--- {path}" in put for path in paths) and "mine" not in put
        written = read()
        assert all("valetkey flights" in text and text.startswith(comment) for text in written)
        again = cli("configure", tool, grant, *own, **spark)
        assert again.stdout == "" and "nothing is to be changed" in again.stderr and read() == written
        shown = cli("configure", tool, *own, "--remove", "--dry-run", **spark).stdout
        assert read() == written
        removed = cli("configure", tool, *own, "--remove", **spark).stdout
        gone = [line.removeprefix("- ") for line in removed.splitlines() if not line.startswith("--- ")]
        added = [line.removeprefix("+ ") for line in put.splitlines() if not line.startswith("--- ")]
        assert removed == shown and gone == added and read() == [comment] * len(paths)
        assert "nothing is to be changed" in cli("configure", tool, *own, "--remove", **spark).stderr

    @pytest.mark.parametrize("kind, tools", [("azure", "aws rclone duckdb dvc spark polars s3cmd"), ("google", "aws duckdb dvc spark polars s3cmd")])
    def test_what_a_tool_does_not_renew_is_refused_with_what_to_do_instead(self, cli, tmp_path, kind, tools):
        instead = {"azure rclone": "creds --format rclone", "azure spark": "creds --format spark"}
        instead |= {f"{kind} polars": "Python package", "azure duckdb": "Python package"}
        with Upstream(kind, 3600) as upstream:
            for tool in tools.split():
                there = {"VALETKEY_SERVER": upstream.url, "SPARK_HOME": str(tmp_path / "spark")}
                done = cli("configure", tool, "daily", ok=False, **there)
                assert done.returncode == 2 and done.stdout == "" and "does not renew" in done.stderr, done
                assert instead.get(f"{kind} {tool}", "valetkey exec") in done.stderr, done.stderr
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "token"]

    def test_rclone_renews_a_google_storage_in_exec(self, cli, tmp_path):
        with Upstream("google", 3600) as gcs:
            there = {"VALETKEY_SERVER": gcs.url}
            said = cli("configure", "rclone", "daily", "--profile", "lake", **there)
            assert "valetkey exec GRANT -- rclone ls lake:lake/daily/" in said.stderr
            assert not (tmp_path / ".aws").exists()
            line = ["rclone", "--gcs-endpoint", gcs.url, "cat", "lake:lake/daily/x"]
            assert cli("exec", "daily", "--", *line, **there).stdout.encode() == CONTENT
            assert cli(*["exec", "daily", "--", *line[:-1], "lake:lake/daily/x"], VALETKEY_TOKEN_FILE="", ok=False).returncode != 0
            cli("configure", "rclone", "--profile", "lake", "--remove", **there)
            assert (tmp_path / ".config/rclone/rclone.conf").read_text() == ""

    def test_without_a_file_for_the_token_the_agent_is_asked(self, cli, grant, reader, tmp_path):
        done = cli("configure", "aws", grant, VALETKEY_TOKEN=reader.token, VALETKEY_TOKEN_FILE="")
        assert f" agent process {grant}" in (tmp_path / ".aws/config").read_text() and "valetkey agent" in done.stderr

    def test_a_name_that_would_break_out_is_refused(self, cli, grant):
        for name in ("a]b", "a b", "", "-x", "a\nb"):
            assert cli("configure", "aws", grant, f"--profile={name}", ok=False).returncode == 2


@contextlib.contextmanager
def over_tls(directory, made):
    """A server with that key and certificate, which knows nobody."""
    key, certificate = made
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "leaf.pem").write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "leaf.pem")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(401)

        def log_message(self, *_):
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            """Whoever does not trust it goes away."""

    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class TestDoctor:
    def findings(self, cli, *line, code=0, **more):
        done = cli("doctor", *line, "-o", "json", ok=False, **more)
        assert done.returncode == code, done.stderr + done.stdout
        return {finding["what"]: finding for finding in json.loads(done.stdout)}

    def test_all_is_well(self, cli, grant):
        found = self.findings(cli, grant)
        assert {finding["state"] for finding in found.values()} == {"ok"}, found
        assert found.keys() >= {"server", "clock", "token", "credential", "endpoint", "agent", "environment", "cache"}

    def test_what_shadows_is_named_and_no_value_shown(self, cli):
        found = self.findings(cli, AWS_ACCESS_KEY_ID="AKIA-x", AWS_PROFILE="y")["environment"]
        assert found["state"] == "warn" and "AWS_ACCESS_KEY_ID, AWS_PROFILE" in found["found"] and "AKIA" not in str(found)

    def test_keys_of_a_default_profile(self, cli, tmp_path):
        (tmp_path / ".aws").mkdir()
        (tmp_path / ".aws/credentials").write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = s3cret\n")
        found = self.findings(cli)["files"]
        assert found["state"] == "warn" and "s3cret" not in str(found)

    def test_a_server_that_is_away_and_a_token_that_is_wrong(self, cli, tmp_path):
        assert self.findings(cli, code=1, VALETKEY_SERVER="http://127.0.0.1:9")["server"]["state"] == "fail"
        (tmp_path / "token").write_text("vkt_0000000000000000000000000000000000000000000_000000")
        assert self.findings(cli, code=1)["token"]["state"] == "fail"
        assert self.findings(cli, code=1, VALETKEY_TOKEN_FILE="")["login"]["state"] == "fail"

    def test_a_certificate_that_nobody_trusts_here_is_said_with_what_names_its_authority(self, cli, tmp_path):
        with over_tls(tmp_path, certificate("the server", certificate("a stranger"))) as url:
            there = {"VALETKEY_SERVER": url}
            found = self.findings(cli, code=1, **there)
            assert found["tls"]["state"] == "fail" and "server" not in found
            assert "nobody that is trusted" in found["tls"]["found"]
            assert "SSL_CERT_FILE" in found["tls"]["hint"] and "--ca-cert-file" in found["tls"]["hint"]

    def test_a_certificate_of_ones_own_authority_is_well_when_it_is_named(self, cli, tmp_path):
        authority = certificate("our own")
        with over_tls(tmp_path, certificate("the server", authority)) as url:
            file = tmp_path / "authority.pem"
            file.write_bytes(authority[1].public_bytes(serialization.Encoding.PEM))
            there = {"VALETKEY_SERVER": url}
            for more in ({"SSL_CERT_FILE": str(file)}, {"VALETKEY_CA_CERT_FILE": str(file)}):
                assert self.findings(cli, code=1, **there, **more)["tls"]["state"] == "ok"

    def test_a_storage_whose_certificate_nobody_trusts_is_said_for_the_sdks(self, cli, tmp_path):
        with over_tls(tmp_path, certificate("the server", certificate("a stranger"))) as url, Upstream("s3", 3600) as upstream:
            upstream.answer = lambda handler: handler.reply(200, json.dumps(upstream.vend() | {"endpoint_url": url}).encode())
            found = self.findings(cli, "daily", code=1, VALETKEY_SERVER=upstream.url)
            assert found["tls"]["state"] == "fail" and "AWS_CA_BUNDLE" in found["tls"]["hint"], found

    def test_a_credential_without_a_lease_is_not_ended(self, cli):
        with Upstream("s3", 3600) as upstream:
            ended = []
            upstream.answer = lambda handler: handler.reply(200, json.dumps(upstream.vend() | {"lease_id": ""}).encode())
            upstream.http.RequestHandlerClass.do_DELETE = lambda handler: ended.append(handler.path) or handler.reply(200, b"{}")
            self.findings(cli, "daily", VALETKEY_SERVER=upstream.url)
            upstream.answer = None
            assert ended == []
            self.findings(cli, "daily", VALETKEY_SERVER=upstream.url)
            assert len(ended) == 1 and ended[0].startswith("/api/v1/leases/lea_"), ended

    def test_a_region_and_an_endpoint_that_are_others(self, cli, tmp_path):
        with Upstream("s3", 3600) as upstream:
            upstream.answer = lambda handler: handler.reply(200, json.dumps(upstream.vend() | {"region": "eu-west-1"}).encode())
            there = {"VALETKEY_SERVER": upstream.url}
            of = lambda **more: self.findings(cli, "daily", **there, **more)
            assert of(AWS_REGION="eu-west-1", AWS_ENDPOINT_URL_S3=upstream.url)["region"]["state"] == "ok"
            found = of(AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL="https://other.example")
            assert found["region"]["state"] == found["leads to"]["state"] == "warn" and "other.example" not in str(found)
            assert found["region"]["hint"] == "AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1"
            assert found["leads to"]["hint"] == f"AWS_ENDPOINT_URL_S3={upstream.url}"
            (tmp_path / ".aws").mkdir()
            (tmp_path / ".aws/config").write_text("[profile mine]\nregion = us-east-2\n")
            found = of(AWS_PROFILE="mine")["region"]
            assert found["state"] == "warn" and "the profile `mine`" in found["found"]

    def test_keys_of_a_default_profile_wherever_it_is(self, cli, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = s3cret\n")
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            found = self.findings(cli, **{name: str(elsewhere)})["files"]
            assert found["state"] == "warn" and str(elsewhere) in found["found"] and "s3cret" not in str(found)

    def test_a_proxy_between_tools_and_the_agent(self, cli):
        asks = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/x", "HTTP_PROXY": "http://proxy.example:3128"}
        found = self.findings(cli, **asks)["proxy"]
        assert found["state"] == "warn" and "127.0.0.1" in found["hint"] and "proxy.example" not in str(found)
        assert self.findings(cli, **asks, NO_PROXY="example.com")["proxy"]["state"] == "warn"
        assert "proxy" not in self.findings(cli, **asks, NO_PROXY="example.com, 127.0.0.1")

    def test_kept_credentials_that_are_over(self, cli, server, reader, grant, tmp_path):
        assert cli("creds", grant, "--ttl", "1s", "--format", "process").stdout
        ends = datetime.now(UTC) + timedelta(hours=1)
        kept = lambda end: json.dumps({"Credentials": {"AccessKeyId": "A", "Expiration": end.isoformat()}})
        for tool, end in (("cli", ends), ("boto", ends - timedelta(days=2))):
            (tmp_path / f".aws/{tool}/cache").mkdir(parents=True)
            (tmp_path / f".aws/{tool}/cache/x.json").write_text(kept(end))
        while (found := self.findings(cli))["cache"]["state"] == "ok":
            assert datetime.now(UTC) < ends - timedelta(minutes=59), found
        assert "1 of 1 kept credentials" in found["cache"]["found"]
        assert found["old cache"]["state"] == "warn" and ".aws/boto/cache" in found["old cache"]["found"]
