"""The packages for Python and JavaScript in `clients`: they renew for three lifetimes, and say why they cannot."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from harness import FLIGHTS, demo_bytes, demo_keys
from upstream import Upstream

HERE = pathlib.Path(__file__).parent
CLIENTS = HERE.parents[1] / "clients"
sys.path.insert(0, str(CLIENTS / "python"))

from valetkey import Credential, Refused, Source, Unavailable  # noqa: E402

LIFE = 10


@pytest.fixture
def demo(server, reader, monkeypatch):
    monkeypatch.setenv("VALETKEY_SERVER", server.api)
    monkeypatch.setenv("VALETKEY_TOKEN", reader.token)
    return lambda **more: Source("flights-daily", **more)


def test_every_client_goes_on_for_three_lifetimes(server, reader):
    rest = [str(3 * LIFE + 2), reader.bucket, FLIGHTS, str(LIFE)]
    lines = {name: [sys.executable, "packages.py", name, *rest] for name in ("boto3", "s3fs", "obstore", "polars", "pyarrow", "duckdb")}
    lines["javascript"] = ["node", "packages.mjs", *rest]
    env = os.environ | {"VALETKEY_SERVER": server.api, "VALETKEY_TOKEN": reader.token, "PYTHONPATH": str(CLIENTS / "python")}
    running = {
        name: subprocess.Popen(line, env=env, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name, line in lines.items()
    }
    with Upstream("azure", LIFE, demo_bytes(reader.bucket, FLIGHTS)) as azure:
        there = env | {"VALETKEY_SERVER": azure.url}
        for name in ("azure", "obstore_azure", "polars_azure"):
            line = [sys.executable, "packages.py", name, rest[0], "lake", "daily/x", rest[3]]
            running[name] = subprocess.Popen(line, env=there, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name, process in running.items():
            out, errors = process.communicate(timeout=120)
            assert process.returncode == 0 and int(out) >= 5, f"{name}: {errors}"
        assert azure.asked >= 3 * 3


class TestSource:
    def test_one_vend_is_for_all_threads(self):
        with Upstream("s3", 3600) as upstream:
            source, found = Source("daily", server=upstream.url, token="vkt_x"), []
            threads = [threading.Thread(target=lambda: found.append(source.get())) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len({credential.access_key_id for credential in found}) == upstream.asked == 1

    def test_what_is_valid_outlives_the_server_and_a_refusal_ends_it(self):
        with Upstream("s3", LIFE) as upstream:
            source = Source("daily", server=upstream.url, token="vkt_x")
            first = source.get()
            # As if it had been vended a while ago.
            source._kept = replace(source._kept, vended=source._kept.vended - timedelta(seconds=6))
            upstream.answer = lambda handler: handler.reply(200, b"<html>", "text/html")
            assert source.get() == first
            upstream.answer = lambda handler: handler.reply(403, b'{"detail": "no grant", "code": "forbidden"}')
            source._paused -= timedelta(minutes=1)
            with pytest.raises(Refused, match="no grant"):
                source.get()
            upstream.answer = lambda handler: handler.reply(503, b"{}")
            with pytest.raises(Unavailable):
                source.get()

    @pytest.mark.parametrize("body", [b"[]", b"{}", b"<html>", b"x" * (2 * 1024 * 1024), b'{"type": "new"}'])
    def test_an_answer_that_is_none(self, body):
        with Upstream("s3") as upstream:
            upstream.answer = lambda handler: handler.reply(200, body)
            with pytest.raises(Unavailable):
                Source("daily", server=upstream.url, token="vkt_x").get()

    def test_a_redirect_does_not_take_the_token_along(self):
        with Upstream("s3") as elsewhere, Upstream("s3") as upstream:

            def away(handler):
                handler.send_response(307)
                handler.send_header("location", elsewhere.url + "/api/v1/credentials")
                handler.end_headers()

            upstream.answer = away
            with pytest.raises(Unavailable):
                Source("daily", server=upstream.url, token="vkt_x").get()
            assert elsewhere.asked == 0

    def test_no_secret_is_shown(self):
        with Upstream("s3") as upstream:
            credential = Source("daily", server=upstream.url, token="vkt_x").get()
            assert credential.secret_access_key and credential.secret_access_key not in repr(credential)

    def test_the_token_stays_on_this_machine_or_goes_by_tls(self):
        for server in ("http://keys.example", "ftp://127.0.0.1", "https://user:x@keys.example", "http://127.0.0.1.example"):
            with pytest.raises(ValueError):
                Source("daily", server=server)

    def test_places(self):
        for target, more in [("s3://b", {}), ("s3:///x", {}), ("b/x", {}), ("s3://b/x", {"objects": ["y"]})]:
            with pytest.raises(ValueError):
                Source(target, **more)
        assert Source("s3://b/x/")._ask == {"bucket": "b", "prefixes": ["x"]}

    def test_a_revoked_credential_is_replaced_at_the_next_request(self, server, reader, demo):
        import valetkey.boto3
        import valetkey.s3fs

        source = demo()
        s3, fs = valetkey.boto3.client(source), valetkey.s3fs.filesystem(source)
        read = lambda: (s3.get_object(Bucket=reader.bucket, Key=FLIGHTS)["Body"].read(), fs.cat_file(f"{reader.bucket}/{FLIGHTS}"))
        first = read()
        for _ in range(2):
            lease = source.get().lease_id
            assert server.call("DELETE", f"/api/v1/leases/{lease}", server.admin_token).status == 200
            assert read() == first

    def test_what_is_kept_for_a_minute_is_confirmed_and_what_was_ended_is_not_given_out(self, server, demo):
        source, asked = demo(), []
        ask_for = source._ask_for
        source._ask_for = lambda path, *rest: asked.append(path.split("/")[0]) or ask_for(path, *rest)

        def a_minute_later():
            source._kept = replace(source._kept, asked=source._kept.asked - timedelta(seconds=61))

        first = source.get()
        assert source.get() == first and asked == ["credentials"], "not asked about within a minute"
        a_minute_later()
        assert source.get() == source.get() == first and asked == ["credentials", "leases"], "once a minute"
        a_minute_later()
        assert server.call("DELETE", f"/api/v1/leases/{first.lease_id}", server.admin_token).status == 200
        assert source.get().lease_id != first.lease_id and asked[2:] == ["leases", "credentials"]

    def test_what_cannot_be_confirmed_is_given_out(self):
        with Upstream("s3", 3600) as upstream:
            source = Source("daily", server=upstream.url, token="vkt_x")
            first = source.get()
        source._kept = replace(source._kept, asked=source._kept.asked - timedelta(seconds=61))
        assert source.get() == first

    def test_requests_under_way_with_a_revoked_credential_are_one_vend(self, server, reader, demo):
        import valetkey.boto3

        source, vends = demo(), []
        s3 = valetkey.boto3.client(source)
        together, sent = threading.Barrier(8), threading.local()

        def signed(**_):
            # All are signed before one is sent.
            if not getattr(sent, "once", False):
                sent.once = True
                together.wait(20)

        s3.meta.events.register("before-send.s3", signed)
        vend = source._vend
        source._vend = lambda: vends.append(threading.current_thread().name) or vend()
        assert server.call("DELETE", f"/api/v1/leases/{source.get().lease_id}", server.admin_token).status == 200
        read = []
        threads = [
            threading.Thread(target=lambda: read.append(s3.get_object(Bucket=reader.bucket, Key=FLIGHTS)["Body"].read())) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert read == [demo_bytes(reader.bucket, FLIGHTS)] * 8 and len(vends) == 1, vends

    def test_the_loop_of_s3fs_does_not_wait_for_a_vend(self, server, reader, demo):
        import fsspec.asyn
        import valetkey.s3fs

        source, vends = demo(), []
        fs = valetkey.s3fs.filesystem(source)
        paths = [f"{reader.bucket}/{key}" for key in sorted(demo_keys(reader.bucket, reader.prefix))]
        first = fs.cat(paths)
        vend = source._vend
        source._vend = lambda: vends.append(threading.current_thread()) or vend()
        assert server.call("DELETE", f"/api/v1/leases/{source.get().lease_id}", server.admin_token).status == 200
        assert fs.cat(paths) == first and len(paths) > 3
        assert len(vends) == 1 and vends[0] is not fsspec.asyn.iothread[0], vends

    def test_duckdbs_secret_is_kept_fresh_whatever_goes_wrong_once(self, caplog):
        from importlib.resources import files

        import duckdb
        import valetkey.duckdb

        class Failing:
            """The second one is none."""

            asked, renewed = 0, threading.Event()

            def get(self):
                self.asked += 1
                if self.asked == 2:
                    raise RuntimeError("as no other does")
                if self.asked == 5:
                    self.renewed.set()
                ends = datetime.now(UTC) + timedelta(hours=1)
                keys = {"access_key_id": "A", "secret_access_key": "s", "session_token": "t"}
                return Credential("s3", f"lea_{self.asked}", ends, "http://127.0.0.1:9", "auto", "lake", (), **keys)

        db = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
        db.execute(f"LOAD '{files('duckdb_extension_httpfs') / 'extensions' / f'v{duckdb.__version__}' / 'httpfs.duckdb_extension'}'")
        source = Failing()
        with valetkey.duckdb.secret(db, source, every=0.01) as kept:
            assert source.renewed.wait(10), "its thread ended"
            assert kept._set != "lea_1"
        assert [record.message for record in caplog.records if "as no other does" in record.message]

    def test_azure_and_google_renew_in_obstore(self):
        from valetkey.obstore import Provider, store

        for kind, field in (("azure", "sas_token"), ("google", "token")):
            with Upstream(kind, LIFE) as upstream:
                source = Source("daily", server=upstream.url, token="vkt_x")
                provider = Provider(source)
                first = provider()
                assert first[field] and first["expires_at"] == source.get().expiration
                source.forget(source.get())
                assert provider()[field] != first[field]
                assert type(store(source)).__name__ == {"azure": "AzureStore", "google": "GCSStore"}[kind]


class TestJavaScript:
    def said(self, url, token="vkt_x"):
        done = subprocess.run(["node", "packages_refused.mjs", url, token], cwd=HERE, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def test_many_readers_are_one_vend(self):
        with Upstream("s3", 3600) as upstream:
            assert len(set(self.said(upstream.url)["keys"])) == upstream.asked == 1

    def test_what_was_revoked_is_not_given_out_a_minute_later(self, server, reader):
        environment = os.environ | {"VALETKEY_TOKEN": reader.token, "ADMIN_TOKEN": server.admin_token}
        line = ["node", "packages_ended.mjs", server.api, reader.bucket, FLIGHTS]
        done = subprocess.run(line, cwd=HERE, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr

    def test_refusals_and_answers_that_are_none(self):
        with Upstream("s3") as upstream:
            upstream.answer = lambda handler: handler.reply(403, b'{"detail": "no grant", "code": "forbidden"}')
            assert self.said(upstream.url) == {"error": "no grant", "code": "forbidden"}
            for body in (b"<html>", b"{}", b"x" * (2 * 1024 * 1024)):
                upstream.answer = lambda handler, body=body: handler.reply(200, body)
                assert "error" in self.said(upstream.url)
        assert "plain http" in self.said("http://keys.example")["error"]
        assert "no token" in self.said("http://127.0.0.1:9", " ")["error"]


def test_the_python_package_is_typed_and_builds(tmp_path):
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(tmp_path)]
    done = subprocess.run([*line, str(CLIENTS / "python")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == "valetkey-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as packed:
        assert {"valetkey/py.typed", "valetkey/source.py"} <= set(packed.namelist())
    line = [sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null", "-p", "valetkey"]
    done = subprocess.run(line, cwd=CLIENTS / "python", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_javascript_package_is_typed_and_packs(tmp_path):
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for package in (CLIENTS / "javascript", HERE / "node_modules/@aws-sdk", HERE / "node_modules/@smithy"):
        (modules / {"javascript": "valetkey"}.get(package.name, package.name)).symlink_to(package)
    program = tmp_path / "packages_typed.mts"
    program.write_text((HERE / "packages_typed.mts").read_text())
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "--preserveSymlinks"]
    done = subprocess.run([HERE / "node_modules/.bin/tsc", *options, program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    done = subprocess.run(["npm", "pack", "--dry-run", "--json"], cwd=CLIENTS / "javascript", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    [packed] = json.loads(done.stdout)
    assert {file["path"] for file in packed["files"]} == {"README.md", "index.d.ts", "index.js", "package.json"}
