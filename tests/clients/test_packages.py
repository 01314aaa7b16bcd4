"""The packages for Python and JavaScript in `clients`: they renew for three lifetimes, and say why they cannot."""

import json
import os
import pathlib
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from harness import FLIGHTS, demo_bytes
from upstream import Upstream

HERE = pathlib.Path(__file__).parent
CLIENTS = HERE.parents[1] / "clients"
sys.path.insert(0, str(CLIENTS / "python"))

from valetkey import Refused, Source, Unavailable  # noqa: E402

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
            source._kept = first, source._kept[1] - timedelta(seconds=6)
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
    assert [path.name for path in tmp_path.glob("*.whl")] == ["valetkey-0.1.0-py3-none-any.whl"]
