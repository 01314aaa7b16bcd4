"""Every command that the README and the documents show is run, and what they show of its output is compared."""

import contextlib
import html
import itertools
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tomllib
from importlib.resources import files

import duckdb
import pytest

from harness import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "clients").glob("*/README.md"))]
RUN = ("sh", "console", "python", "javascript")
SHOWN = ("toml", "yaml", "json", "text", "ini")
API, S3 = "127.0.0.1:7070", "127.0.0.1:7071"
OPERATOR = "export VALETKEY_TOKEN_FILE=valetkey-dev/admin.token"
SERVER = """umask 077
valetkey server init > operator.token
valetkey server run &
export VALETKEY_TOKEN_FILE=operator.token
until valetkey whoami 2> whoami.err; do sleep 0.05; done"""
READER = "export VALETKEY_TOKEN_FILE=valetkey-dev/analyst.token"
# The machine of a page that installs one: its directories are the reader's own.
MACHINE = """umask 077
mkdir -p /var/lib
valetkey server init --data-dir /var/lib/valetkey > operator.token
valetkey server run --data-dir /var/lib/valetkey &
export VALETKEY_TOKEN_FILE=operator.token
until valetkey whoami 2> whoami.err; do sleep 0.05; done"""

# What a page takes for granted, as its reader has it already. Other pages begin with nothing but `valetkey`.
BEFORE = {
    "clients/javascript/README.md": READER,
    "clients/python/README.md": READER,
    "docs/agent.md": READER,
    "docs/audit.md": OPERATOR,
    "docs/dialects/access-grants.md": READER,
    "docs/dialects/iceberg.md": f"{OPERATOR}\nvaletkey share create lake --account acme",
    "docs/dialects/r2.md": OPERATOR,
    "docs/dialects/native.md": READER,
    "docs/dialects/sharing.md": OPERATOR,
    "docs/dialects/sts.md": READER,
    "docs/dialects/theirstack.md": READER,
    "docs/dialects/unity.md": "export VALETKEY_TOKEN_FILE=valetkey-dev/recipient.token",
    "docs/groups-and-conditions.md": f"""{SERVER}
valetkey account create acme
for name in ana ben; do valetkey token create $name --account acme > $name.token; done
valetkey bucket create lake
valetkey identity add okta --preset okta --issuer https://acme.okta.com --audience 0oa1b2c3
valetkey identity add github --preset github --audience https://valetkey.example.com""",
    "docs/identity.md": OPERATOR,
    "docs/keyless.md": f"export VALETKEY_ISSUER__URL=https://valetkey.example.com\n{SERVER}",
    "docs/policy-files.md": f"{SERVER}\nvaletkey bucket create my-lake",
    "docs/requests.md": f"""{SERVER}
valetkey account create acme
for name in ana eve; do valetkey token create $name --account acme > $name.token; done
valetkey bucket create lake""",
    "docs/operating.md": MACHINE,
    **{f"docs/storages{page}.md": OPERATOR for page in ("", "/aws", "/azure", "/ceph", "/google", "/own", "/r2")},
    "docs/storages/gateway.md": f"""mkdir -p /srv/archive/papers
export VALETKEY_GATEWAY__LOCAL_ROOTS=/srv
{SERVER}""",
}

# An identity provider's key, and a token of it.
RUNNER = """
import json, time, jwt
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())) | {"kid": "one", "alg": "ES256", "use": "sig"}
json.dump({"keys": [public]}, open("keys.json", "w"))
now = int(time.time())
claims = {"iss": "https://runner.example.com", "sub": "nightly", "aud": "valetkey", "iat": now, "exp": now + 600}
open("runner.jwt", "w").write(jwt.encode(claims, key, "ES256", headers={"kid": "one"}))
"""

# What its reader has done before one of a page's blocks, by the block's first line.
MEANWHILE = {
    "docs/identity.md": {
        "$ curl -s https://valetkey.example.com/oauth/token \\": f"""python3 -c '{RUNNER}'
valetkey identity add runner --preset other --issuer https://runner.example.com --audience valetkey --jwks-file keys.json
valetkey identity rule add runner jobs --account acme --caller '{{subject}}' --claim sub=nightly
export JWT=$(cat runner.jwt)""",
    },
    "docs/operating.md": {
        "install --mode 0600 keyring /var/lib/valetkey/keyring": """cp /var/lib/valetkey/keyring keyring
kill %1 && wait
mv /var/lib/valetkey lost
mkdir -m 0700 /var/lib/valetkey""",
        'valetkey ledger verify --expect-head "$head"            # is it the ledger that was backed up?': """valetkey server run --data-dir /var/lib/valetkey &
until valetkey whoami > whoami.out 2>&1; do sleep 0.05; done""",
    },
}

# What a page calls by a name that is nobody's, or everybody's, here: where that is, from the reader's directory or the API's address.
PLACES = {
    "docs/identity.md": {"https://valetkey.example.com/oauth/token": "http://{api}/oauth/token"},
    "docs/operating.md": {"/var/lib": "{home}/var/lib", "/backup/": "{home}/"},
    "docs/storages/gateway.md": {"/srv": "{home}/srv"},
}

# Pages whose commands start a server: it gets addresses of its own, and no other is there.
OWN_SERVER = (
    "README.md",
    "docs/dialects/your-own.md",
    "docs/for/platform-engineers.md",
    "docs/groups-and-conditions.md",
    "docs/keyless.md",
    "docs/operating.md",
    "docs/policy-files.md",
    "docs/requests.md",
    "docs/storages/gateway.md",
)

# What is not run here, by the first line of its block, and why. The list may only get shorter.
NOT_RUN = {
    "README.md": {"cargo install --path crates/valetkey": "builds for minutes; the binary that it would install is the one under test"},
    "docs/bench.md": {
        "bench/run            # about ten minutes; writes bench/results.json, and with --docs the tables below": "takes minutes, and an idle machine",
        "bench/waits          # who waits for whom: each route's worst allowed request, and how long `GET /api/v1/me` takes meanwhile": "takes minutes, and an idle machine",
    },
    "clients/python/README.md": {
        "blobs = BlobServiceClient(url, credential=valetkey.azure.SasCredential(source))": "needs an account at Azure; test_packages.py runs it with a stand-in",
    },
    "docs/dialects/dreadnode.md": {
        'dn = dreadnode.configure(server="http://127.0.0.1:7070", api_key="vkt_…", organization="acme", workspace="main")': "the SDK is 900 MB, and has a suite of its own in dreadnode/",
    },
    "docs/identity.md": {
        "$ valetkey login        # on Ana's machine": "needs an identity provider and a browser; test_login.py has both",
    },
    "docs/keyless.md": {
        "aws iam create-open-id-connect-provider --url https://valetkey.example.com --client-id-list sts.amazonaws.com": "needs an account at AWS",
        "gcloud iam workload-identity-pools create valetkey --location global": "needs an account at Google",
        "az ad app federated-credential create --id 44444444-4444-4444-4444-444444444444 --parameters '{\"name\": \"valetkey\",": "needs an account at Azure",
    },
    "docs/operating.md": {
        "systemd-run --pty --collect -p DynamicUser=yes -p User=valetkey -p StateDirectory=valetkey -p StateDirectoryMode=0700 \\": "needs systemd; tests/deploy checks the unit",
    },
    "docs/many-nodes.md": {
        "createuser valetkey && createdb --owner valetkey --encoding UTF8 --template template0 valetkey      # at Postgres": "needs a Postgres server; tests/cluster sets one up",
        "install -D --mode 0600 /var/lib/valetkey/keyring /run/secrets/keyring": "needs a Postgres server; tests/cluster copies to one and back",
        'pg_dump --format=custom --file=valetkey.dump "$url"                                    # one point in time, of this database': "needs a Postgres server of one's own to copy",
    },
}
MOST_NOT_RUN = 13


def blocks(page: pathlib.Path):
    """The fenced blocks of a page: language, file name if one is given, text."""
    text = page.read_text()
    for match in re.finditer(r"^( *)```(\w*) ?(\S*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        indent, language, file, body = match.groups()
        yield language, file, re.sub(f"^{indent}", "", body, flags=re.MULTILINE)


def name(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT))


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1:{}".format(probe.getsockname()[1])


# What differs from run to run, on either side. Behind each is what both become.
VARYING = [
    (r"\b([a-z]{3})_[0-9a-z]{26}\b", r"\1_…"),
    (r"\bvkt_\w{20,}", "vkt_…"),
    (r"\bvks2\.[\w-]+", "vks2.…"),
    (r"\bVK[A-Z0-9]{12,}", "VK…"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "(time)"),
    (r"\b\d{16}\b", "(request)"),
    (r"\b\d+:[0-9a-f]{64}\b", "(head)"),
    (r"\b\d+[smhd] ago\b", "(ago)"),
    (r"\bjust now\b|\bnow\b", "(ago)"),
    (r"\bin \d+[smhd]\b", "(in)"),
    (r"  +", "  "),
]


def plain(text: str, addresses: dict[str, str]) -> list[str]:
    for shown, real in addresses.items():
        text = text.replace(real, shown)
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def fits(expected: list[str], found: list[str]) -> bool:
    """Whether the output is what is shown: `…` stands for anything in a line, and alone for any lines."""
    if not expected:
        return not found
    if expected[0] in ("…", "..."):
        return any(fits(expected[1:], found[skipped:]) for skipped in range(len(found) + 1))
    pattern = ".*".join(re.escape(part) for part in re.split("…", expected[0]))
    return bool(found) and re.fullmatch(pattern, found[0]) is not None and fits(expected[1:], found[1:])


def steps(language: str, text: str):
    """The commands of a block, each with the output that is shown; nothing if none is."""
    if language != "console":
        yield text, None
        return
    command, output = None, []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, "\n".join(output)
            command, output = line[2:], []
        elif command is not None and (command.endswith("\\") or line.startswith("> ")):
            command += "\n" + line.removeprefix("> ")
        else:
            assert command is not None, f"output without a command: {line}"
            output.append(line)
    if command is not None:
        yield command, "\n".join(output)


class Shell:
    """One bash for a page: what a block sets, the next one has."""

    def __init__(self, directory: pathlib.Path, env: dict[str, str]):
        self.directory, self.numbers = directory, itertools.count()
        self.read, write = os.pipe()
        self.process = subprocess.Popen(
            ["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory, env=env,
            pass_fds=(write,), start_new_session=True, text=True,
        )
        os.close(write)
        self.process.stdin.write(f"exec 9>&{write} {write}>&-\n")

    def run(self, command: str, language: str = "sh") -> tuple[int, str]:
        """Its exit code and all it wrote."""
        number = next(self.numbers)
        out = self.directory / f".step-{number}.out"
        ending = {"python": "py", "javascript": "mjs"}.get(language, "sh")
        file = self.directory / f".step-{number}.{ending}"
        file.write_text(command + "\n")
        start = {"python": f"python3 {file}", "javascript": f"node {file}"}.get(language, f"source {file}")
        wait = ready(command)
        self.process.stdin.write(f"set {'+' if language == 'console' else '-'}e\n{start} > {out} 2>&1 < /dev/null 9>&-\necho $? >&9\n{wait}set +e\n")
        self.process.stdin.flush()
        assert select.select([self.read], [], [], 30)[0], f"not done within 30 s:\n{command}"
        told = os.read(self.read, 16)
        return int(told) if told.strip() else self.process.wait() or 1, out.read_text()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        os.close(self.read)


# What a reader sees before the next command: that what was started is ready. The demo's file is the last that it writes.
READY = {
    r"valetkey dev\b": '[ -s valetkey-dev/config.share ]',
    r"valetkey server run\b": 'curl -sf "$VALETKEY_SERVER/readyz"',
    r"valetkey agent\b": "valetkey agent status",
}


def ready(command: str) -> str:
    started = [test for start, test in READY.items() if re.search(rf"^{start}.*&\s*(#.*)?$", command, re.MULTILINE)]
    return "".join(f"until {test} > /dev/null 2>&1; do sleep 0.05; done\n" for test in started)


def environment(directory: pathlib.Path, server: str) -> dict[str, str]:
    """What a reader has: the programs, a home, and no settings."""
    programs = directory / "bin"
    programs.mkdir()
    (programs / "valetkey").symlink_to(os.environ["VALETKEY_BIN"])
    modules = directory / "node_modules"
    modules.mkdir()
    for package in [ROOT / "clients/javascript", *(HERE / "node_modules").glob("[@a-z]*")]:
        (modules / ("valetkey" if package.parent != HERE / "node_modules" else package.name)).symlink_to(package)
    # DuckDB takes its extension from where it would have been downloaded to.
    extension = files("duckdb_extension_httpfs") / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    platform = duckdb.sql("PRAGMA platform").fetchone()[0]
    extensions = directory / f".duckdb/extensions/v{duckdb.__version__}/{platform}"
    extensions.mkdir(parents=True)
    (extensions / extension.name).symlink_to(extension)
    path = [str(programs), str(HERE / ".venv/bin"), *os.environ["PATH"].split(":")]
    return {
        "HOME": str(directory),
        "PATH": ":".join(path),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT / "clients/python"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "VALETKEY_SERVER": server,
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A server of these tests' own: what the documents make or end is nothing to other tests."""
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("documents")) as server:
        yield server
    assert server.leaks() == []


@pytest.fixture
def reader(request, tmp_path):
    """A shell where the reader of a page begins, and the addresses that stand for those of the page."""
    page = name(request.param)
    if page in OWN_SERVER:
        addresses = {API: free_address(), S3: free_address()}
        own = {"VALETKEY_API__LISTEN": addresses[API], "VALETKEY_S3__LISTEN": addresses[S3]}
    else:
        server = request.getfixturevalue("demo")
        addresses, own = {API: server.api.removeprefix("http://"), S3: server.s3.removeprefix("http://")}, {}
        (tmp_path / "valetkey-dev").symlink_to(server.data)
    for shown, place in PLACES.get(page, {}).items():
        addresses[shown] = place.format(home=tmp_path, api=addresses[API])
    shell = Shell(tmp_path, environment(tmp_path, f"http://{addresses[API]}") | own)
    try:
        yield request.param, shell, addresses
    finally:
        shell.close()


def there(command: str, addresses: dict[str, str]) -> str:
    """A command, with the addresses of this run."""
    demo = f"valetkey dev --api-listen {addresses[API]} --s3-listen {addresses[S3]}"
    command = re.sub(r"^valetkey dev(?= [>&])", demo, command, flags=re.MULTILINE)
    for shown, real in addresses.items():
        command = command.replace(shown, real)
    return command


WITH_COMMANDS = [page for page in PAGES if any(language in RUN for language, _, _ in blocks(page))]


@pytest.mark.parametrize("reader", WITH_COMMANDS, ids=name, indirect=True)
def test_every_command_works_and_shows_what_the_page_shows(reader):
    page, shell, addresses = reader
    skipped = dict(NOT_RUN.get(name(page), {}))
    for _, file, text in [block for block in blocks(page) if block[1]]:
        (shell.directory / file).parent.mkdir(parents=True, exist_ok=True)
        (shell.directory / file).write_text(there(text, addresses))
    if before := BEFORE.get(name(page)):
        code, output = shell.run(there(before, addresses))
        assert code == 0, output
    meanwhile = dict(MEANWHILE.get(name(page), {}))
    for language, _, text in blocks(page):
        if language not in RUN or skipped.pop(text.splitlines()[0], None):
            continue
        if done := meanwhile.pop(text.splitlines()[0], None):
            code, output = shell.run(there(done, addresses))
            assert code == 0, output
        for command, shown in steps(language, text):
            code, output = shell.run(there(command, addresses), language)
            what = f"{name(page)}:\n{command}\nended with {code}:\n{output}"
            assert code == 0 or shown, what
            if shown is not None:
                found = plain(output, addresses)
                assert fits(plain(shown, {}), found), f"{what}\nwhere the page shows:\n{shown}\n" + "\n".join(found)
    assert not (skipped or meanwhile), f"not there, or not a command: {skipped or meanwhile}"


# What an example of the demo needs that has an environment of its own, or a suite.
ELSEWHERE = {"delta_sharing": ".venv-sharing", "polars.Catalog": ".venv-sharing", "pyiceberg": ".venv-iceberg"}


def test_every_example_of_the_demo_works_or_is_refused_as_it_says(demo, tmp_path):
    (tmp_path / "valetkey-dev").symlink_to(demo.data)
    shell = Shell(tmp_path, environment(tmp_path, demo.api))
    try:
        code, printed = shell.run("curl() { command curl --fail-with-body \"$@\"; }\nvaletkey dev --examples")
        assert code == 0, printed
        heading, counted = "", 0
        for line in printed.splitlines():
            if not line.startswith("  "):
                heading = line
                continue
            command = line.strip()
            if command.startswith("(the tools:") or "import dreadnode" in command:
                continue
            for needed, venv in ELSEWHERE.items():
                if needed in command:
                    command = command.replace("python3 -c", f"{HERE / venv}/bin/python3 -c")
            code, output = shell.run(command, "console")
            refused = "refused" in heading
            assert (code != 0) == refused, f"{heading}\n{command}\nended with {code}:\n{output}"
            assert not refused or "AccessDenied" in output, output
            counted += 1
        assert counted > 20, printed
    finally:
        shell.close()


def test_every_block_says_what_it_is():
    for page in PAGES:
        fenced = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        lines = fenced.splitlines()
        code = [line for before, line in zip(lines, lines[1:]) if line.startswith("    ") and not before.strip() and line.strip()]
        code = [line for line in code if not re.match(r"\s+([*\-|]|\d+\.) ", line)]
        assert not code, f"{name(page)}: fence this, and name its language: {code[0]}"
        for language, _, text in blocks(page):
            assert language in (*RUN, *SHOWN), f"{name(page)}: ```{language}"
            if language == "json":
                json.loads(text)
            if language == "toml":
                tomllib.loads(text)


def test_what_is_not_run_has_a_reason_and_gets_less():
    reasons = [reason for page in NOT_RUN.values() for reason in page.values()]
    assert len(reasons) <= MOST_NOT_RUN and all(len(reason) > 20 for reason in reasons)


def anchors(page: pathlib.Path) -> set[str]:
    """What a heading can be linked by."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere():
    lost = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text):
            if "://" in link or link.startswith("mailto:"):
                continue
            path, _, anchor = html.unescape(link).partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                lost.append(f"{name(page)}: {link}")
    assert not lost, lost


def test_every_page_is_on_the_map():
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", index.read_text())}
    missing = [name(page) for page in PAGES if page not in linked and page != index and page != ROOT / "README.md"]
    assert not missing, missing


def test_every_picture_is_shown_on_a_page():
    shown = set()
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()) + re.findall(r'(?:src|srcset)="([^"]+)"', page.read_text()):
            shown.add((page.parent / link).resolve())
    pictures = [path for ending in ("png", "svg") for path in (ROOT / "docs").rglob(f"*.{ending}")]
    lost = [name(path) for path in pictures if path not in shown]
    assert pictures and not lost, lost
