"""`valetkey configure` and `valetkey doctor`: what is written, that the tools work with it, and what is found."""

import json
import os
import subprocess
import sys

import pytest

from harness import FLIGHTS, demo_bytes
from test_agent import of_grant


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

    def test_the_others_are_written_and_taken_out_again(self, cli, grant, tmp_path):
        for tool, file in [("dvc", ".config/dvc/config"), ("s3cmd", ".s3cfg-flights"), ("spark", "spark/conf/spark-defaults.conf")]:
            spark = {"SPARK_HOME": str(tmp_path / "spark")}
            cli("configure", tool, grant, "--profile", "flights", **spark)
            assert "flights" in (tmp_path / file).read_text()
            cli("configure", tool, "--profile", "flights", "--remove", **spark)
            assert (tmp_path / file).read_text() == ""

    def test_without_a_file_for_the_token_the_agent_is_asked(self, cli, grant, reader, tmp_path):
        done = cli("configure", "aws", grant, VALETKEY_TOKEN=reader.token, VALETKEY_TOKEN_FILE="")
        assert f" agent process {grant}" in (tmp_path / ".aws/config").read_text() and "valetkey agent" in done.stderr

    def test_a_name_that_would_break_out_is_refused(self, cli, grant):
        for name in ("a]b", "a b", "", "-x", "a\nb"):
            assert cli("configure", "aws", grant, f"--profile={name}", ok=False).returncode == 2


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
