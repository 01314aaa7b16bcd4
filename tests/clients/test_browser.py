"""A page of another origin in Chromium: pre-signed URLs, refusals that it can read, and vending, where its origin is allowed."""

import base64
import contextlib
import http.server
import json
import os
import re
import subprocess
import threading

import pytest

from harness import Server

PAGE = """<!doctype html><title>page</title><pre id=said>nothing</pre><script>
const asked = ASKED, said = {};
const tell = async (name, url, options) => {
    try {
        const answer = await fetch(url, options);
        const names = ["etag", "x-amz-request-id", "access-control-allow-credentials"];
        said[name] = {status: answer.status, text: await answer.text(), headers: names.map(name => answer.headers.get(name))};
    } catch (error) {
        said[name] = String(error);
    }
};
(async () => {
    for (const {name, url, ...options} of asked) await tell(name, url, options);
    document.getElementById("said").textContent = btoa(JSON.stringify(said));
    await fetch("/done", {method: "POST"});
})();
</script>"""


class Pages(http.server.BaseHTTPRequestHandler):
    page = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.page)

    def do_POST(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def origin():
    """Serves a page on a port of its own: another origin than the server's."""
    pages = type("Pages", (Pages,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield pages, f"http://127.0.0.1:{site.server_address[1]}"
        site.shutdown()


def visit(pages, url, asked, profile):
    """Opens the page in Chromium; says what became of each of its requests."""
    pages.page = PAGE.replace("ASKED", json.dumps(asked)).encode()
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, timeout=120, env=os.environ | {"HOME": str(profile)})
    said = re.search(rb"<pre id=\"said\">([A-Za-z0-9+/=]+)</pre>", done.stdout)
    assert said, (done.stdout[-2000:], done.stderr[-2000:])
    return json.loads(base64.b64decode(said[1]))


@pytest.fixture(scope="module")
def site():
    with origin() as (pages, url):
        yield pages, url


@pytest.fixture(scope="module")
def browsed(site, tmp_path_factory):
    settings = {"VALETKEY_API__CORS_ORIGINS": site[1]}
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("browsed"), settings) as server:
        yield server


def test_a_page_reads_and_writes_with_signed_urls_and_vends(site, browsed, tmp_path):
    pages, url = site
    writer = browsed.caller("read-write", "flights-lake")
    lease = browsed.vend(writer)
    key = f"{lease.prefix}/page"
    sign = lambda method, key: lease.boto3().generate_presigned_url(method, {"Bucket": lease.bucket, "Key": key}, 300)
    bucket = f"/api/v1/buckets/{lease.bucket}/cors"
    asked = [
        {"name": "put", "url": sign("put_object", key), "method": "PUT", "body": "from a page"},
        {"name": "get", "url": sign("get_object", key)},
        {"name": "missing", "url": sign("get_object", f"{lease.prefix}/none")},
        {"name": "denied", "url": sign("get_object", "flights/daily-secret/x")},
        {"name": "delete", "url": sign("delete_object", key), "method": "DELETE"},
        {"name": "cookies", "url": sign("get_object", key), "credentials": "include"},
        {
            "name": "vend",
            "url": f"{browsed.api}/api/v1/credentials",
            "method": "POST",
            "headers": {"authorization": f"Bearer {writer.token}", "content-type": "application/json"},
            "body": "{}",
        },
        {"name": "vend without", "url": f"{browsed.api}/api/v1/credentials", "method": "POST"},
        {"name": "me", "url": f"{browsed.api}/api/v1/me", "headers": {"authorization": f"Bearer {writer.token}"}},
    ]
    # Before the bucket says so, no page gets anything of it.
    before = visit(pages, url, asked[:2], tmp_path / "before")
    assert before == {"put": "TypeError: Failed to fetch", "get": "TypeError: Failed to fetch"}
    rule = {"allowed_origins": [url], "allowed_methods": ["GET", "PUT"], "exposed_headers": ["ETag"], "max_age_secs": 60}
    assert browsed.call("PUT", bucket, browsed.admin_token, {"rules": [rule]}).status == 200
    said = visit(pages, url, asked, tmp_path / "allowed")
    assert (said["put"]["status"], said["get"]["status"], said["get"]["text"]) == (200, 200, "from a page")
    # What is exposed can be read, and nothing else.
    etag, request_id, credentials = said["get"]["headers"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag) and (request_id, credentials) == (None, None)
    # A refusal can be read.
    assert (said["missing"]["status"], said["denied"]["status"]) == (404, 403)
    assert "<Code>NoSuchKey</Code>" in said["missing"]["text"] and "<Code>AccessDenied</Code>" in said["denied"]["text"]
    # What the rule does not have, and what a browser would prove by itself, it keeps from the page.
    assert said["delete"] == said["cookies"] == "TypeError: Failed to fetch"
    assert lease.get(key) == b"from a page"
    vended = json.loads(said["vend"]["text"])
    browsed.secrets |= {vended["secret_access_key"], vended["session_token"]}
    assert (said["vend"]["status"], said["vend without"]["status"]) == (200, 401)
    assert said["me"] == "TypeError: Failed to fetch"
    assert browsed.leaks() == []


def test_a_page_of_another_origin_gets_nothing(site, browsed, tmp_path):
    lease = browsed.vend(browsed.caller("read-write", "flights-lake"))
    rule = {"allowed_origins": [site[1]], "allowed_methods": ["GET", "PUT"]}
    assert browsed.call("PUT", f"/api/v1/buckets/{lease.bucket}/cors", browsed.admin_token, {"rules": [rule]}).status == 200
    url = lease.boto3().generate_presigned_url("get_object", {"Bucket": lease.bucket, "Key": f"{lease.prefix}/none"}, 300)
    with origin() as (pages, other):
        asked = [{"name": "get", "url": url}, {"name": "vend", "url": f"{browsed.api}/api/v1/credentials", "method": "POST"}]
        said = visit(pages, other, asked, tmp_path)
    assert said == {"get": "TypeError: Failed to fetch", "vend": "TypeError: Failed to fetch"}
