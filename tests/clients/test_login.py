"""`valetkey login` at a real identity provider (oidc-provider): by a browser, by another device, renewed, and ended."""

import concurrent.futures
import html
import http.cookiejar
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from harness import FLIGHTS, Server

HERE = pathlib.Path(__file__).parent
# Long enough for a command on a busy machine, short enough to see it end.
LIFETIME = 8


class People:
    """A browser, and somebody who logs in with it."""

    def __init__(self, name):
        self.name = name
        self.http = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, url, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        try:
            with self.http.open(url, data, timeout=20) as answer:
                return answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.url, error.read().decode()

    def submit(self, at, page, **said):
        """What a person does with a form: what is in it goes along."""
        action = html.unescape(re.search(r'action="([^"]*)"', page)[1])
        inputs = [re.findall(r'(name|value)="([^"]*)"', tag) for tag in re.findall(r"<input[^>]*>", page)]
        hidden = {found["name"]: html.unescape(found.get("value", "")) for found in map(dict, inputs) if "name" in found}
        return self.open(urllib.parse.urljoin(at, action), **(hidden | said))

    def logs_in(self, at, page):
        """Says who it is, then that the client may."""
        at, page = self.submit(at, page, login=self.name, password="any")
        return self.submit(at, page)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    log = open(tmp_path_factory.mktemp("issuer") / "log", "wb")
    command = [shutil.which("node"), HERE / "provider.mjs", str(LIFETIME)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=HERE)
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def trusting(tmp_path_factory, issuer):
    settings = {"VALETKEY_IDENTITY__PRIVATE_HOSTS": "127.0.0.1"}
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("login"), settings) as server:
        caller = server.caller("read", "flights-lake")
        for line in [
            ["identity", "add", "people", "--issuer", issuer, "--audience", "valetkey-cli", "--login-client-id", "valetkey-cli"],
            ["identity", "rule", "add", "people", "ana", "--account", caller.account, "--caller", caller.name, "--claim", "sub=ana"],
        ]:
            done = server.cli(*line)
            assert done.returncode == 0, done.stderr
        yield server
        assert server.leaks() == []


class Laptop:
    """A user's own files, and nothing else that proves anything."""

    def __init__(self, server, home):
        self.server, self.home = server, home
        other = {name: value for name, value in os.environ.items() if not name.startswith(("VALETKEY_", "XDG_", "AWS_"))}
        self.env = other | {"HOME": str(home), "VALETKEY_SERVER": server.api, "PATH": os.environ["PATH"]}
        self.file = home / ".config/valetkey/logins.json"

    def started(self, *line):
        command = [self.server.binary, "--output", "json", *line]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.env, text=True, **pipes)

    def run(self, *line):
        process = self.started(*line)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(line, process.returncode, out, err)

    def kept(self):
        return json.loads(self.file.read_text())["logins"]

    def said(self, process, pattern):
        """What a command that waits has said."""
        for line in process.stderr:
            if found := re.search(pattern, line):
                return found
        raise AssertionError("it ended without saying so")

    def logged_in(self, who="ana"):
        process = self.started("login", "--no-browser")
        people = People(who)
        at, page = people.open(self.said(process, r"(http://127\S+)")[1])
        at, page = people.logs_in(at, page)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess([], process.returncode, out, err), page


@pytest.fixture
def laptop(trusting, tmp_path):
    return Laptop(trusting, tmp_path)


def test_people_log_in_with_a_browser_and_later_commands_ask_as_them(laptop):
    assert laptop.run("whoami").returncode == 3
    done, page = laptop.logged_in()
    assert done.returncode == 0, done.stderr
    assert "terminal" in page
    answer = json.loads(done.stdout)
    assert answer["provider"] == "people" and answer["renews"] is True and answer["name"] == laptop.server.caller("read", "flights-lake").name
    me = json.loads(laptop.run("whoami").stdout)
    assert me["identity"]["provider"] == "people" and me["identity"]["subject"] == "ana"
    assert stat.S_IMODE(laptop.file.stat().st_mode) == 0o600 and stat.S_IMODE(laptop.file.parent.stat().st_mode) == 0o700
    # A token that is named goes before it.
    laptop.env["VALETKEY_TOKEN"] = laptop.server.admin_token
    assert json.loads(laptop.run("whoami").stdout)["identity"] is None


def test_a_login_renews_by_itself_once_for_all_who_ask(laptop):
    done, _ = laptop.logged_in()
    assert done.returncode == 0, done.stderr
    (first,) = laptop.kept()
    while time.time() * 1000 < first["until_ms"]:
        time.sleep(0.2)
    # Its renewal is good once: who is late uses what the first one got.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: laptop.run("whoami"), range(4)))
    assert [done.returncode for done in asked] == [0] * 4, [done.stderr for done in asked]
    (second,) = laptop.kept()
    assert second["id_token"] != first["id_token"] and second["refresh_token"] != first["refresh_token"]


def test_a_command_and_its_tools_outlive_a_login(laptop):
    done, _ = laptop.logged_in()
    assert done.returncode == 0, done.stderr
    script = f"""
import boto3, time
s3 = boto3.client("s3")
ends = time.time() + {LIFETIME * 2}
while time.time() < ends:
    assert s3.get_object(Bucket="flights-lake", Key="{FLIGHTS}")["Body"].read(4) == b"PAR1"
    time.sleep(1)
"""
    place = ["--ttl", "10s", "s3://flights-lake/flights/daily/"]
    done = laptop.run("exec", *place, "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr


def test_people_log_in_on_another_device(laptop):
    process = laptop.started("login", "--device")
    found = laptop.said(process, r"open (http://\S+) on any device, and type the code ([A-Z-]+)")
    people = People("ana")
    at, page = people.open(found[1])
    at, page = people.submit(at, page, user_code=found[2])
    at, page = people.submit(at, page)
    at, page = people.logs_in(at, page)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (err, page)
    assert json.loads(out)["renews"] is True
    assert laptop.run("whoami").returncode == 0


def test_who_has_no_rule_is_told_and_nothing_is_kept(laptop):
    done, _ = laptop.logged_in("eve")
    assert done.returncode == 4, done.stderr
    assert "identity rule add people" in done.stderr
    assert not laptop.file.exists()


def test_who_refuses_there_is_not_logged_in(laptop):
    process = laptop.started("login", "--no-browser")
    people = People("ana")
    at, page = people.open(laptop.said(process, r"(http://127\S+)")[1])
    people.open(urllib.parse.urljoin(at, re.search(r'href="([^"]*/abort)"', page)[1]))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3 and "access_denied" in err
    assert not laptop.file.exists()


def test_a_login_goes_to_no_other_server(laptop, issuer):
    done, _ = laptop.logged_in()
    assert done.returncode == 0, done.stderr
    other = laptop.server.api.replace("127.0.0.1", "localhost")
    done = laptop.run("--server", other, "whoami")
    assert done.returncode == 3 and "valetkey login" in done.stderr


def test_who_logs_out_is_forgotten_here_and_there(laptop, issuer):
    done, _ = laptop.logged_in()
    assert done.returncode == 0, done.stderr
    (kept,) = laptop.kept()
    ended = laptop.run("logout", "--end-credentials")
    assert ended.returncode == 0, ended.stderr
    assert laptop.kept() == [] and laptop.run("whoami").returncode == 3
    assert laptop.run("logout").returncode == 5
    form = {"grant_type": "refresh_token", "client_id": "valetkey-cli", "refresh_token": kept["refresh_token"]}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{issuer}/token", urllib.parse.urlencode(form).encode())
    assert json.loads(refused.value.read())["error"] == "invalid_grant"
    # The token itself is good at its issuer until its end, and not here.
    assert laptop.server.call("GET", "/api/v1/me", kept["id_token"]).status == 401


def test_a_login_that_ended_there_says_so(laptop, issuer):
    done, _ = laptop.logged_in()
    assert done.returncode == 0, done.stderr
    (kept,) = laptop.kept()
    form = {"client_id": "valetkey-cli", "token": kept["refresh_token"]}
    urllib.request.urlopen(f"{issuer}/token/revocation", urllib.parse.urlencode(form).encode())
    while time.time() * 1000 < kept["until_ms"]:
        time.sleep(0.2)
    done = laptop.run("whoami")
    assert done.returncode == 3 and "valetkey login" in done.stderr, done.stderr


def test_where_nobody_logs_in_is_told(laptop, server):
    done = laptop.run("--server", server.api, "login")
    assert done.returncode == 5 and "--login-client-id" in done.stderr
