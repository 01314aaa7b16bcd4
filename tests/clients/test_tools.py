"""What `valetkey configure` writes for DVC, s3cmd and Spark, read by the tools themselves; Spark's as the Java properties that it is."""

import os
import pathlib
import subprocess
import sys

import javaproperties
import pytest

from harness import FLIGHTS, demo_bytes

PROGRAMS = pathlib.Path(sys.executable).parent


@pytest.fixture
def run(server, tmp_path):
    """Runs a program with a home of its own, as who has the token."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "XDG_", "VALETKEY_"))}
    own |= {"HOME": str(tmp_path), "VALETKEY_SERVER": server.api, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    own |= {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}

    def run(caller, *line, ok=True, **more):
        token = tmp_path / f"{caller.name}.token"
        token.touch(0o600)
        token.write_text(caller.token)
        env = own | {"VALETKEY_TOKEN_FILE": str(token)} | more
        done = subprocess.run([str(word) for word in line], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def grant(caller) -> str:
    return caller.prefix.replace("/", "-")


def test_dvc_pushes_and_pulls_what_its_grant_allows(server, run, reader, writer, tmp_path):
    for caller, name in ((writer, "staging"), (reader, "daily")):
        run(caller, server.binary, "configure", "dvc", grant(caller), "--access", caller.access, "--profile", name)
    # The profile of each says whose token it asks with; DVC itself has none.
    alone = {"VALETKEY_TOKEN_FILE": ""}
    run(writer, "dvc", "init", "--no-scm", "--quiet", **alone)
    (tmp_path / "model.bin").write_bytes(b"learned")
    run(writer, "dvc", "add", "--quiet", "model.bin", **alone)
    run(writer, "dvc", "push", "--quiet", "--remote", "staging", **alone)
    refused = run(writer, "dvc", "push", "--remote", "daily", ok=False, **alone)
    assert refused.returncode != 0
    (tmp_path / "model.bin").unlink()
    run(writer, "rm", "-r", ".dvc/cache")
    run(writer, "dvc", "pull", "--quiet", "--remote", "staging", **alone)
    assert (tmp_path / "model.bin").read_bytes() == b"learned"


def test_s3cmd_reads_inside_and_is_refused_outside(server, run, reader, tmp_path):
    run(reader, server.binary, "configure", "s3cmd", grant(reader), "--profile", "daily")
    s3cmd = [server.binary, "exec", "--static", grant(reader), "--", "s3cmd", "-c", tmp_path / ".s3cfg-daily"]
    listed = run(reader, *s3cmd, "ls", f"s3://{reader.bucket}/{reader.prefix}/").stdout
    assert FLIGHTS in listed and "secret" not in listed
    run(reader, *s3cmd, "get", f"s3://{reader.bucket}/{FLIGHTS}", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == demo_bytes(reader.bucket, FLIGHTS)
    for line in (["ls", f"s3://{reader.bucket}/{reader.prefix}-secret/"], ["put", tmp_path / "got", f"s3://{reader.bucket}/{reader.prefix}/x"]):
        refused = run(reader, *s3cmd, *line, ok=False)
        assert refused.returncode != 0 and "AccessDenied" in refused.stderr, refused


def test_sparks_file_is_properties_for_this_bucket_alone(server, run, reader, tmp_path):
    file = tmp_path / "spark-defaults.conf"
    file.write_text("spark.master local[1]\n")
    run(reader, server.binary, "configure", "spark", grant(reader), "--profile", "daily", "--file", file)
    found = javaproperties.loads(file.read_text())
    own = f"spark.hadoop.fs.s3a.bucket.{reader.bucket}."
    assert found.pop("spark.master") == "local[1]" and all(name.startswith(own) for name in found)
    assert {name.removeprefix(own): value for name, value in found.items()} == {
        "aws.credentials.provider": "org.apache.hadoop.fs.s3a.auth.ProfileAWSCredentialsProvider",
        "auth.profile.name": "daily",
        "endpoint": server.s3,
        "endpoint.region": "auto",
        "path.style.access": "true",
        "connection.ssl.enabled": "false",
    }
