"""A Postgres that cannot be used, or not any more: each is told in a word, and nothing is lost."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

import pytest
from faults import Faults, SmallDisk, compiled
from nodes import Postgres, running, until


def refused(cluster, url: str, **settings: str) -> str:
    """What a server says that is to run on that; it says each thing once."""
    known = {"VALETKEY_DATABASE__URL": url} | settings
    with pytest.raises(RuntimeError) as refusal:
        cluster.join("refused", **known)
    said = str(refusal.value)
    line = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith('{"type"')))["detail"]
    assert Postgres.PASSWORD not in said and " at line " not in line, line
    assert line.count("cannot be opened") + line.count("cannot be used") <= 1, line
    return line


def test_an_address_that_is_wrong(one):
    wrong = {
        "mysql://valetkey@127.0.0.1/valetkey": "is not a URL like `postgres://",
        f"postgres://valetkey@127.0.0.1:{one.postgres.port}": "names no database",
        "postgres://valetkey@127.0.0.1:1/valetkey": "nothing listens at that address and port",
        "postgres://valetkey@nobody.invalid/valetkey": "failed to lookup address",
        one.postgres.of(database="elsewhere"): "there is no such database (`createdb` makes one)",
        one.postgres.of(more="?sslmode=prefer"): "allowed are `verify-full`",
        one.nodes[0].api.replace("http://", "postgres://valetkey@") + "/valetkey": "no Postgres",
    }
    for url, said in wrong.items():
        began = time.monotonic()
        line = refused(one, url)
        assert said in line, line
        assert time.monotonic() - began < 4, f"{url} is waited for"
    one.verify()


def test_who_may_not(one):
    """A wrong password and a missing right are told at once; nothing is changed by what was refused."""
    began = time.monotonic()
    line = refused(one, one.postgres.url, VALETKEY_DATABASE__PASSWORD="wrong")
    assert "the user or the password is wrong" in line and time.monotonic() - began < 4, line
    assert "the user or the password is wrong" in refused(one, one.postgres.of(user="nobody"))
    one.postgres.sql(f"CREATE ROLE weak LOGIN PASSWORD '{Postgres.PASSWORD}'")
    line = refused(one, one.postgres.of(user="weak"))
    assert "the user has not the right to: permission denied" in line and "make it the owner" in line, line
    one.postgres.sql("CREATE DATABASE fresh", "postgres")
    line = refused(one, one.postgres.of(user="weak", database="fresh"))
    assert "cannot be brought up to date: the user has not the right to: permission denied for schema public" in line, line
    one.postgres.sql("REVOKE CONNECT ON DATABASE fresh FROM PUBLIC", "postgres")
    line = refused(one, one.postgres.of(user="weak", database="fresh"))
    assert 'the user has not the right to: permission denied for database "fresh"' in line, line
    assert one.postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "fresh") == "0"
    one.verify()


def test_a_certificate_that_nobody_trusts(one):
    full = one.postgres.of(more="?sslmode=verify-full")
    line = refused(one, full)
    assert "it offers no TLS" in line, line
    certificate = one.postgres.certify()
    line = refused(one, full)
    assert "its certificate is not trusted" in line and "sslrootcert" in line, line
    line = refused(one, f"{full}&sslrootcert=/nowhere/ca.pem")
    assert "/nowhere/ca.pem" in line or "a file that its URL names cannot be read" in line, line
    kept = pathlib.Path(one.directory / "ca.pem")
    kept.write_bytes(certificate.read_bytes())
    trusting = one.join("trusting", VALETKEY_DATABASE__URL=f"{full}&sslrootcert={kept}")
    assert trusting.ask(one.caller()).status == 200
    line = refused(one, f"{full.replace('127.0.0.1', 'localhost')}&sslrootcert={kept}")
    assert "the URL's host has to be in it" in line, line
    one.verify()


def test_a_server_that_does_not_do(one):
    """Too old, a replica, read-only, without fsync, of another encoding."""
    number = int(one.postgres.sql("SHOW server_version_num"))
    old = lambda some: some.replace(number.to_bytes(4, "big"), (140_012).to_bytes(4, "big"))
    one.way.told = old
    line = refused(one, one.postgres.url_at(one.way.port))
    assert "it is Postgres 14, and 15 is the oldest that can be used" in line, line
    one.way.told = lambda some: some
    standby = one.postgres.standby()
    try:
        line = refused(one, standby.url)
        assert "it is a replica or a database set read-only; name the primary" in line, line
    finally:
        one.postgres.sql("ALTER SYSTEM RESET synchronous_standby_names", "postgres")
        one.postgres.sql("SELECT pg_reload_conf()", "postgres")
        standby.remove()
    one.postgres.sql("CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0", "postgres")
    assert "its encoding is SQL_ASCII, not UTF8" in refused(one, one.postgres.of(database="latin"))
    one.postgres.sql("ALTER DATABASE latin SET default_transaction_read_only = on", "postgres")
    assert "set read-only" in refused(one, one.postgres.of(database="latin"))
    one.postgres.sql("ALTER SYSTEM SET fsync = off", "postgres")
    one.postgres.sql("SELECT pg_reload_conf()", "postgres")
    until("it is off", lambda: one.postgres.sql("SHOW fsync") == "off")
    assert "`fsync` is off" in refused(one, one.postgres.url)
    one.verify()


def test_two_clusters_on_one_database(one, tmp_path):
    """Whoever sets another one up on it is told so, and it goes on."""
    caller = one.caller()
    other = {"VALETKEY_KEYS__FILE": str(tmp_path / "other" / "keyring")}
    done = one.offline("init", tmp_path / "other", **other)
    assert done.returncode != 0 and "used with a keyring already" in done.stderr, done
    inline = {"VALETKEY_KEYS__FILE": "", "VALETKEY_KEYS__INLINE": "1:" + "A" * 43 + "="}
    assert "another" in refused(one, one.postgres.url, **inline)
    assert one.nodes[0].ask(caller).status == 200
    one.verify()


def test_a_server_that_is_just_starting_is_asked_again(one):
    """It ends the first connections, as one does that restarts. One that goes on so is given up in time."""
    url = one.postgres.url_at(one.way.port)
    one.way.drop = 3
    node = one.join("patient", VALETKEY_DATABASE__URL=url)
    assert node.ask(one.caller()).status == 200 and one.way.drop == 0
    node.stop()
    one.nodes.remove(node)
    one.way.drop, one.way.accepted = 1 << 30, 0
    began = time.monotonic()
    line = refused(one, url)
    assert "the server ended the connection" in line, line
    assert time.monotonic() - began < 15 and one.way.accepted == 6, one.way.accepted
    one.way.drop = 0
    one.verify()


def test_a_clock_that_is_wrong_is_told_at_the_start(one, tmp_path, monkeypatch):
    caller = one.caller()
    faults = Faults(tmp_path / "clock", tmp_path / "nothing")
    faults.step_clock(600)
    node = one.join("fast", LD_PRELOAD=str(compiled(tmp_path)), FAULTS=str(faults.path))
    apart = lambda: [line for line in node.log.read_text().splitlines() if "ms apart: set them right (NTP)" in line]
    until("it is told", apart, 5.0)
    assert abs(json.loads(apart()[0])["skew_ms"] - 600_000) < 5_000 if "skew_ms" in json.loads(apart()[0]) else "60" in apart()[0]
    # What it vends is a lease like any other, and is ended like any other: by one whose clock is right, too.
    lease = node.vend(caller, prefix=None, whole_bucket=True)
    assert one.nodes[0].call("DELETE", f"/api/v1/leases/{lease.id}", one.admin_token).status == 200
    for each in one.nodes:
        until("it is ended", lambda each=each: not each.opens(lease, "seed"), 3.0)
    faults.wall_ns = 0
    until("and that it is right again", lambda: "are together again" in node.log.read_text(), 5.0)
    assert len(apart()) == 1
    one.verify()


def full_disks() -> list[str]:
    """What can be full: where this process may not mount, nothing."""
    with tempfile.TemporaryDirectory() as directory:
        return ["a tablespace", "all of it"] if os.geteuid() == 0 and SmallDisk.possible(pathlib.Path(directory)) else []


def pytest_generate_tests(metafunc):
    if "full" in metafunc.fixturenames:
        metafunc.parametrize("full", full_disks())


@pytest.fixture
def small():
    """A disk of its own, that Postgres may write."""
    made = []

    def make(mib: int) -> SmallDisk:
        path = pathlib.Path("/var/tmp") / f"valetkey-small-{os.getpid()}-{len(made)}"
        disk = SmallDisk(path, mib)
        made.append(disk)
        subprocess.run(["chown", "postgres", str(path)], check=True)
        return disk

    yield make
    for disk in made:
        disk.unmount()
        disk.path.rmdir()


def test_a_disk_that_is_full(small, tmp_path, full):
    """Nothing is vended and the servers are not ready; what is ended is ended where it was said; and it works again without a restart."""
    if full == "a tablespace":
        disk, postgres = small(40), Postgres()
        postgres.sql(f"CREATE TABLESPACE small LOCATION '{disk.path}'", "postgres")
        postgres.sql("ALTER DATABASE valetkey SET TABLESPACE small", "postgres")
    else:
        disk = small(200)
        postgres = Postgres(directory=disk.path / "postgres-of-tests")
    with running(tmp_path, 2, postgres) as cluster:
        caller, told = cluster.caller(), []
        first, second = cluster.nodes
        kept = first.vend(caller, prefix=None, whole_bucket=True)
        told.append(kept.id)
        disk.fill()
        if full == "all of it":
            # The journal goes on in other files, for which there is no room in the end: Postgres ends.
            for _ in range(40):
                postgres.tries("SELECT pg_switch_wal()", "UPDATE trial SET number = number")
        began = time.monotonic()
        while (answer := first.ask(caller)).status == 200:
            told.append(json.loads(answer.body)["lease_id"])
            assert time.monotonic() - began < 60, "it is not full"
        assert answer.status == 503 and answer.headers["retry-after"], answer
        assert first.status() == 503
        again = [first.ask(caller).status for _ in range(5)]
        assert again == [503] * 5, again
        assert first.status() == 503
        ended = first.call("DELETE", f"/api/v1/leases/{kept.id}", cluster.admin_token)
        assert ended.status in (200, 503), ended
        if gone := not postgres.answers:
            # Nothing is changed by a token of which nobody can say any more whether it is good.
            assert ended.status == 503 and full == "all of it", ended
        else:
            assert not first.opens(kept, "seed"), "ended where it was said"
        print(f"{full}: full after {len(told)} vends, Postgres {'is gone' if gone else 'answers'}; an end is answered with {ended.status}")
        disk.empty()
        if gone:
            # Whoever runs it starts it again, once there is room.
            postgres.stopped()
            postgres.start()
        for node in cluster.nodes:
            until("vending again", lambda node=node: node.ask(caller).status == 200)
            until("ready again", lambda node=node: node.status() == 200)
        if gone:
            assert first.call("DELETE", f"/api/v1/leases/{kept.id}", cluster.admin_token).status == 200
        for node in cluster.nodes:
            until("it is ended everywhere", lambda node=node: not node.opens(kept, "seed"), 5.0)
        for lease in told:
            assert second.call("GET", f"/api/v1/leases/{lease}", cluster.admin_token).status == 200, lease
        cluster.verify()
