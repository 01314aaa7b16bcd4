"""The files of `deploy`, each held to what takes it: systemd, Kubernetes' schemas, Prometheus, and the server's own settings."""

import json
import os
import pathlib
import re
import subprocess
import tomllib

import kubernetes_validate
import pytest
import yaml

from fronts import DEPLOY

BINARY = os.environ["VALETKEY_BIN"]
ROOT = DEPLOY.parent
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# The schemas that the validator ships: from an old cluster's to the newest.
VERSIONS = ["1.27", "1.32", "1.37"]
# The most that systemd finds open, of 10: what is left is the network, and limits that the server sets for itself.
EXPOSURE = 1.2
# Settings that only the many-nodes files name, until a build has them.
AHEAD: set[str] = set()


def ran(*command, **fields) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, **fields)


def known_settings() -> set[str]:
    return set(re.findall(r"^\| `([a-z0-9_.]+)` \|", ran(BINARY, "server", "check-config", "--markdown").stdout, re.M))


def paths(table: dict, before: str = "") -> dict[str, object]:
    """The settings of a file, each by its whole name."""
    found = {}
    for name, value in table.items():
        found |= paths(value, f"{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def unit(directory: pathlib.Path) -> pathlib.Path:
    """The unit with its examples of drop-ins, with the program where it is here."""
    for file in (DEPLOY / "systemd").rglob("valetkey.service*"):
        if file.is_file():
            text = file.read_text()
            assert "/usr/bin/valetkey server" in text
            (directory / file.name).write_text(text.replace("ExecStart=/usr/bin/valetkey", f"ExecStart={BINARY}"))
    (directory / "valetkey.service.d").mkdir()
    for file in (DEPLOY / "systemd/valetkey.service.d").iterdir():
        (directory / "valetkey.service.d" / file.name).write_text(file.read_text())
    return directory / "valetkey.service"


def test_systemd_takes_the_unit(tmp_path):
    done = ran("systemd-analyze", "verify", unit(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # It would say so: a setting that it does not know is one that it does not hold.
    (tmp_path / "valetkey.service.d/wrong.conf").write_text("[Service]\nProtectSistem=strict\n")
    assert "Unknown key 'ProtectSistem'" in ran("systemd-analyze", "verify", tmp_path / "valetkey.service").stderr


def test_systemd_takes_the_unit_of_the_agent(tmp_path):
    text = (DEPLOY / "systemd/user/valetkey-agent.service").read_text()
    assert "ExecStart=/usr/bin/valetkey agent\n" in text
    text, env = text.replace("=/usr/bin/valetkey", f"={BINARY}"), os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    unit = tmp_path / "valetkey-agent.service"
    unit.write_text(text)
    done = ran("systemd-analyze", "--user", "verify", unit, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    unit.write_text(text.replace("NoNewPrivileges", "NoNewPrivilege"))
    assert "Unknown key 'NoNewPrivilege'" in ran("systemd-analyze", "--user", "verify", unit, env=env).stderr


def test_the_unit_leaves_little_open(tmp_path):
    done = ran("systemd-analyze", "security", "--offline=true", f"--threshold={int(EXPOSURE * 10)}", unit(tmp_path))
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


@pytest.mark.parametrize("file", ["systemd/valetkey.toml", "kubernetes/one-node.yaml", "kubernetes/many-nodes.yaml"])
def test_the_server_knows_every_setting(file, tmp_path):
    text = (DEPLOY / file).read_text()
    if file.endswith(".yaml"):
        text = next(entry for entry in yaml.safe_load_all(text) if entry["kind"] == "ConfigMap")["data"]["valetkey.toml"]
    settings, known = paths(tomllib.loads(text)), known_settings()
    assert len(known) > 50
    unknown = settings.keys() - known
    assert unknown <= (AHEAD if "many" in file else set())
    # Secrets and certificates are not here; everything else must be together what the server takes.
    kept = {path: value for path, value in settings.items() if path not in unknown and not path.endswith("_file")}
    kept |= {"data_dir": str(tmp_path / "none"), "insecure_http": True, "keys.file": str(tmp_path / "none/keyring")}
    (tmp_path / "valetkey.toml").write_text("".join(f"{path} = {json.dumps(value)}\n" for path, value in kept.items()))
    done = ran(BINARY, "server", "check-config", "--config", tmp_path / "valetkey.toml")
    assert done.returncode == 0, done.stderr


def test_the_server_knows_every_variable():
    known, named = known_settings(), 0
    # The agent is a client: what it reads is in its help.
    client = {name.lower() for name in re.findall(r"VALETKEY_([A-Z_]+)", ran(BINARY, "agent", "--help").stdout)}
    for file in DEPLOY.rglob("*"):
        for variable in re.findall(r"VALETKEY_([A-Z0-9_]+)", file.read_text()) if file.is_file() else ():
            setting, named = variable.removesuffix("_FILE").lower().replace("__", "."), named + 1
            allowed = known | (AHEAD if "many-nodes" in file.name else set()) | (client if file.parent.name == "user" else set())
            assert setting in allowed or variable.lower().replace("__", ".") in allowed, f"{file.name}: {variable}"
    assert named > 5


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda file: file.stem)
def test_kubernetes_takes_the_manifests(manifest, version):
    entries = list(yaml.safe_load_all(manifest.read_text()))
    for entry in entries:
        kubernetes_validate.validate(entry, version, strict=True)
        entry["spec" if "spec" in entry else "metadata"]["unheardOf"] = 1
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(entry, version, strict=True)


def pods(manifest: pathlib.Path) -> list[dict]:
    found = []
    for entry in yaml.safe_load_all(manifest.read_text()):
        if entry["kind"] == "Pod":
            found.append(entry["spec"])
        elif "template" in entry.get("spec", {}):
            found.append(entry["spec"]["template"]["spec"])
    return found


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda file: file.stem)
def test_pods_have_what_they_name_and_no_more_rights_than_they_need(manifest):
    """What Pod Security's level `restricted` asks, and what a typo would break without a word."""
    assert pods(manifest)
    for pod in pods(manifest):
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
            ports = {port["name"] for port in container.get("ports", [])}
            probes = [value for name, value in container.items() if name.endswith("Probe")]
            assert {probe["httpGet"]["port"] for probe in probes} <= ports and (len(probes) == 3 or not ports)
            # It ends before it is killed.
            assert not ports or pod["terminationGracePeriodSeconds"] > 5 + 20 + 5


def test_the_image_is_as_the_linter_wants_it():
    done = ran("hadolint", DEPLOY / "container/Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_all_that_the_program_needs(tmp_path):
    """Laid out as the image is: no shell, another user, and a server that is set up and ready all the same."""
    root = tmp_path / "root"
    done = ran(DEPLOY / "container/rootfs", BINARY, root)
    assert done.returncode == 0, done.stderr
    assert not list(root.rglob("sh")) and not list(root.rglob("bash"))
    inside = ["chroot", "--userspec=65532:65532", root, "/usr/bin/valetkey"]
    made = ran(*inside, "server", "init", "--data-dir", "/var/lib/valetkey/data", "--output", "json")
    assert made.returncode == 0, made.stderr
    assert (root / "var/lib/valetkey/data/keyring").stat().st_uid == 65532
    (root / "etc/hosts").write_text("127.0.0.1 named.example.com\n")
    listen = ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]
    command = [*inside, "server", "run", "--data-dir", "/var/lib/valetkey/data", *listen, "--output", "json"]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(process.stdout.readline())
        asked = {"VALETKEY_SERVER": ready["api"].replace("127.0.0.1", "named.example.com")}
        asked |= {"VALETKEY_TOKEN": json.loads(made.stdout)["operator_token"]}
        done = ran(*inside, "--insecure-http", "--output", "json", "whoami", env=os.environ | asked)
        assert done.returncode == 0 and json.loads(done.stdout)["role"] == "operator", done
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


def test_prometheus_takes_the_rules():
    done = ran("promtool", "check", "rules", DEPLOY / "monitoring/alerts.yml")
    assert done.returncode == 0, done.stderr
    done = ran("promtool", "test", "rules", "alerts_test.yml", cwd=pathlib.Path(__file__).parent)
    assert done.returncode == 0, done.stdout + done.stderr


def queries() -> dict[str, str]:
    """What is asked of Prometheus, by alert and panel."""
    rules = yaml.safe_load((DEPLOY / "monitoring/alerts.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((DEPLOY / "monitoring/dashboard.json").read_text())["panels"]
    asked = {rule["alert"]: rule["expr"] for rule in rules}
    return asked | {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}


def test_prometheus_takes_the_dashboards_queries(tmp_path):
    given = {"$__rate_interval": "5m", "$instance": ".*"}
    rules = []
    for number, query in enumerate(queries().values()):
        for variable, value in given.items():
            query = query.replace(variable, value)
        rules.append({"record": f"asked:{number}", "expr": query})
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = ran("promtool", "check", "rules", tmp_path / "rules.yml")
    assert done.returncode == 0 and f"{len(rules)} rules found" in done.stdout, done.stderr


def test_every_metric_that_is_asked_for_exists_with_its_labels():
    sources = "".join(file.read_text() for file in ROOT.glob("crates/*/src/**/*.rs"))
    figures = (ROOT / "crates/valetkey/src/node/figures.rs").read_text()
    kinds = dict(re.findall(r'\(\s*"((?:vk|process)_\w+)",\s*(Counter|Gauge|Histogram),', figures))
    assert len(kinds) > 30
    labels: dict[str, set[str]] = {}
    for name, given in re.findall(r'(?:counter|gauge|histogram)!\(\s*"(\w+)"((?:[^()]|\([^()]*\))*)\)', sources):
        labels.setdefault(name, set()).update(re.findall(r'"(\w+)" =>', given))
    scraped = {"job", "instance", "le"}
    for where, query in queries().items():
        named = re.findall(r"\b((?:vk|process)_\w+)\s*(?:\{([^}]*)\})?", query)
        assert named or query.startswith("up{"), where
        own: set[str] = set()
        for metric, selector in named:
            name = re.sub(r"_(bucket|sum|count)$", "", metric)
            assert name in kinds, f"{where}: there is no {metric}"
            assert (metric == name) == (kinds[name] != "Histogram"), f"{where}: {metric} of a {kinds[name]}"
            has = labels.get(name, set()) | scraped
            asked = set(re.findall(r"(\w+)\s*[=!]~?\s*\"", selector))
            assert asked <= has, f"{where}: {metric} has no {asked - has}"
            own |= has
        by = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")}
        assert by <= own or not named, f"{where}: nothing has {by - own}"


def test_what_alerts_do_is_in_the_manual():
    manual = (ROOT / "docs/operating.md").read_text()
    rules = yaml.safe_load((DEPLOY / "monitoring/alerts.yml").read_text())["groups"][0]["rules"]
    missing = [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in manual]
    assert missing == []
