"""What several servers on one Postgres promise: whatever one of them is told holds on all, whoever of them dies."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import shutil
import statistics
import threading
import time

from botocore.exceptions import ClientError
from nodes import until
from upstreams import SILENCE, XML, Response, S3Stub, Stub, assumed


def heard(call, **fields) -> int:
    """The status of what S3 says."""
    try:
        return call(**fields)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_every_node_vends_and_takes_what_the_others_vended(cluster):
    caller = cluster.caller()
    for vends in cluster.nodes:
        lease = vends.vend(caller, prefix=None, whole_bucket=True)
        for takes in cluster.nodes:
            assert takes.opens(lease, "seed")
    tampered = lease.__class__(**(lease.__dict__ | {"session_token": lease.session_token[:-4] + "AAAA"}))
    assert not cluster.nodes[0].opens(tampered, "seed")
    other = cluster.nodes[2].vend(cluster.caller(1), prefix=None, whole_bucket=True)
    assert cluster.nodes[0].opens(other, "seed")
    found = cluster.verify()
    assert found["leases"] == 5, found
    listed = [
        {lease["lease_id"] for lease in json.loads(node.call("GET", "/api/v1/leases", cluster.admin_token).body)["leases"]}
        for node in cluster.nodes
    ]
    assert listed[0] == listed[1] == listed[2] and len(listed[0]) == 5


def test_what_is_ended_on_one_node_is_ended_on_all_within_a_second(cluster):
    """Under load; how long it took is told."""
    caller = cluster.caller()
    busy, stop = cluster.caller(), threading.Event()

    def load(node):
        while not stop.is_set():
            node.ask(busy)

    took = []
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        loads = [pool.submit(load, node) for node in cluster.nodes]
        try:
            for number in range(40):
                at = cluster.nodes[number % 3]
                lease = cluster.nodes[(number + 1) % 3].vend(caller, prefix=None, whole_bucket=True)
                assert all(node.opens(lease, "seed") for node in cluster.nodes)
                ended = at.call("DELETE", f"/api/v1/leases/{lease.id}", cluster.admin_token)
                assert ended.status == 200, ended
                assert not at.opens(lease, "seed"), "at once where it was ended"
                began = time.monotonic()
                for node in cluster.nodes:
                    until("a revocation", lambda node=node: not node.opens(lease, "seed"), 1.0)
                took.append(time.monotonic() - began)
        finally:
            stop.set()
        for one in loads:
            one.result()
    took.sort()
    print(f"revocation seen on every node: p50 {statistics.median(took) * 1000:.0f} ms, longest of 40 {took[-1] * 1000:.0f} ms")
    cluster.verify()


def test_a_node_that_is_killed_loses_nothing_that_was_told(cluster):
    caller = cluster.caller()
    told, stop = [], threading.Event()

    def vend(node):
        while not stop.is_set():
            try:
                answer = node.ask(caller)
            except OSError:
                continue
            if answer.status == 200:
                told.append(json.loads(answer.body)["lease_id"])

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        vending = [pool.submit(vend, node) for node in cluster.nodes]
        victim = cluster.nodes[1]
        try:
            until("vends", lambda: len(told) > 60)
            victim.process.kill()
            victim.process.wait()
            before = len(told)
            until("vends of the others", lambda: len(told) > before + 60)
        finally:
            stop.set()
        for one in vending:
            one.result()
    victim.process.stdout.close()
    for lease in told:
        assert cluster.nodes[0].call("GET", f"/api/v1/leases/{lease}", cluster.admin_token).status == 200, lease
    cluster.nodes.remove(victim)
    # Another one takes its place, and its chain.
    again = cluster.join("node1")
    assert again.ask(caller).status == 200
    found = cluster.verify()
    assert found["leases"] >= len(told) + 1


def test_postgres_dies_and_comes_back_and_no_server_is_restarted(cluster):
    caller = cluster.caller()
    lease = cluster.nodes[0].vend(caller, prefix=None, whole_bucket=True)
    cluster.postgres.stop()
    for node in cluster.nodes:
        refused = node.ask(caller)
        assert refused.status == 503 and refused.headers["retry-after"], refused
        assert node.status() == 503
        # Data goes on being read for a while by what was vended before.
        assert node.opens(lease, "seed")
    ended = cluster.nodes[1].call("DELETE", f"/api/v1/leases/{lease.id}", cluster.admin_token)
    assert ended.status == 503, ended
    cluster.postgres.start()
    for node in cluster.nodes:
        until("vending again", lambda node=node: node.ask(caller).status == 200)
        until("ready again", lambda node=node: node.status() == 200)
    assert cluster.nodes[1].call("DELETE", f"/api/v1/leases/{lease.id}", cluster.admin_token).status == 200
    for node in cluster.nodes:
        until("what is told is heard again", lambda node=node: not node.opens(lease, "seed"), 3.0)
    cluster.verify()


def test_a_server_that_is_cut_off_without_a_word_refuses_in_time_and_comes_back(cluster):
    """Its packets are lost: no connection ends, none answers."""
    caller = cluster.caller()
    own = {"VALETKEY_DATABASE__URL": cluster.postgres.url_at(cluster.way.port), "VALETKEY_S3__MAX_STALENESS_SECS": "8"}
    cut = cluster.join("cut off", **own)
    lease = cut.vend(caller, prefix=None, whole_bucket=True)
    strangers = [cluster.caller() for _ in range(4)]
    cluster.way.silence()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asks = [pool.submit(cut.ask, one) for one in (caller, *strangers, caller)]
        answers = [ask.result() for ask in asks]
    took = time.monotonic() - began
    assert all(answer.status == 503 and answer.headers["retry-after"] for answer in answers), answers
    assert took < 15, f"who asked waited {took:.1f} s"
    assert cut.status() == 503
    assert all(node.ask(caller).status == 200 for node in cluster.nodes[:3]), "it holds nobody else up"
    assert cluster.nodes[0].call("DELETE", f"/api/v1/leases/{lease.id}", cluster.admin_token).status == 200

    def takes() -> bool:
        try:
            return cut.opens(lease, "seed")
        except AssertionError as refused:
            assert "503" in str(refused)
            return False

    until("what another one ended is not taken for long", lambda: not takes(), 10.0)
    refused = time.monotonic()
    assert cut.ask(strangers[0]).status == 503
    assert time.monotonic() - refused < 1, "who comes later is refused at once"
    cluster.way.lead(cluster.postgres.port)
    back = until("vends again", lambda: cut.ask(caller).status == 200, 30.0)
    until("ready again", lambda: cut.status() == 200)
    assert not takes()
    print(f"cut off without a word: refused after {took:.1f} s at the longest, back {back:.1f} s after the network")
    cluster.verify()


def test_postgres_fails_over_to_a_standby_and_nothing_that_was_told_is_lost(cluster):
    standby = cluster.postgres.standby()
    try:
        for node in cluster.nodes:
            node.stop()
        url = cluster.postgres.url_at(cluster.way.port)
        cluster.nodes = [cluster.join(f"node{number}", VALETKEY_DATABASE__URL=url) for number in range(3)]
        callers = [cluster.caller() for _ in range(3)]
        told, ended, stop = [], [], threading.Event()

        def client(node, caller):
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    answer = node.ask(caller)
                    if answer.status != 200:
                        continue
                    lease = json.loads(answer.body)["lease_id"]
                    told.append(lease)
                    if len(told) % 7 == 0 and node.call("DELETE", f"/api/v1/leases/{lease}", cluster.admin_token).status == 200:
                        ended.append(lease)

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            clients = [pool.submit(client, *pair) for pair in zip(cluster.nodes, callers, strict=True)]
            try:
                until("vends", lambda: len(told) > 100)
                cluster.way.silence()
                cluster.postgres.stop()
                standby.promote()
                before = len(told)
                cluster.way.lead(standby.port)
                back = until("vends at the standby", lambda: len(told) > before + 60, 60.0)
            finally:
                stop.set()
            for one in clients:
                one.result()
        for node in cluster.nodes:
            until("ready again", lambda node=node: node.status() == 200)
        found = cluster.verify()
        assert found["leases"] >= len(set(told)), found
        for lease in ended:
            there = json.loads(cluster.nodes[0].call("GET", f"/api/v1/leases/{lease}", cluster.admin_token).body)
            assert there["state"] == "revoked", there
        assert standby.sql("SELECT count(*) FROM (SELECT id FROM leases GROUP BY id HAVING count(*) > 1) twice") == "0"
        print(f"failover: 60 vends {back:.1f} s after the standby took over; {len(told)} told, all on record; {len(ended)} ended, all ended")
    finally:
        for node in cluster.nodes:
            node.process.kill()
            node.process.wait()
        standby.remove()


def test_one_server_asks_an_external_storage_for_all(cluster):
    numbers = itertools.count()
    parent = {"access_key_id": "AKIDPARENT", "secret_access_key": "parent-secret-that-nobody-sees"}
    with Stub(lambda _: Response(200, assumed(next(numbers)), XML)) as sts:
        settings = {"sts_endpoint": sts.url, "region": "eu-west-1", "role_arn": "arn:aws:iam::123456789012:role/one"}
        first = cluster.nodes[0]
        first.make("storages", name="far", kind="sts", endpoint="http://127.0.0.1:1", settings=settings, secrets=parent)
        first.make("buckets", bucket="far-lake", storage="far")
        caller = cluster.caller()
        first.make("grants", account=caller.account, name="far", to=caller.name, bucket="far-lake", access="read", whole_bucket=True)
        body = {"bucket": "far-lake", "access": "read", "whole_bucket": True}

        def key(node):
            answer = node.call("POST", "/api/v1/credentials", caller.token, body)
            assert answer.status == 200, answer
            return json.loads(answer.body)

        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            given = list(pool.map(key, [cluster.nodes[number % 3] for number in range(300)]))
        assert {one["access_key_id"] for one in given} == {"ASIA0"} and len(sts.requests) == 1, len(sts.requests)
        cluster.nodes[2].stop()
        cluster.nodes[2] = cluster.join("node2")
        cluster.nodes.pop()
        assert key(cluster.nodes[2])["access_key_id"] == "ASIA0" and len(sts.requests) == 1, "a server that starts again has it"
        # What is ended at one is handed out by none.
        assert first.call("DELETE", f"/api/v1/leases/{given[0]['lease_id']}", cluster.admin_token).status == 200
        for node in cluster.nodes:
            until("an ended credential is handed out no more", lambda node=node: key(node)["access_key_id"] == "ASIA1", 1.0)
        assert len(sts.requests) == 2
        for node in cluster.nodes:
            node.secrets |= {"parent-secret-that-nobody-sees", "given-secret-0", "given-token-0"}
        assert "given-secret-0" not in cluster.postgres.sql("SELECT sealed FROM pooled_credentials")


def test_a_store_that_hangs_is_felt_by_who_asks_for_it_alone(cluster):
    """What is behind a gateway says nothing more, and neither does who gives out keys of another store: on every server others go on as
    before, whoever asks hears of it in time, and it works again when they do."""
    first = cluster.nodes[0]
    secrets = {"access_key_id": "AKIDPARENT", "secret_access_key": "parent-secret-that-nobody-sees"}
    numbers = itertools.count()
    with S3Stub() as store, Stub(lambda _: Response(200, assumed(next(numbers)), XML)) as sts:
        behind = {"backend": "s3", "endpoint": store.url, "allow_http": True}
        first.make("storages", name="hanging", kind="gateway", settings=behind, secrets=secrets)
        first.make("buckets", bucket="hung", storage="hanging")
        role = {"sts_endpoint": sts.url, "region": "eu-west-1", "role_arn": "arn:aws:iam::123456789012:role/one", "timeout_ms": 3000}
        first.make("storages", name="far", kind="sts", endpoint="http://127.0.0.1:1", settings=role, secrets=secrets)
        first.make("buckets", bucket="far-lake", storage="far")
        other, caller = cluster.caller(), cluster.caller()
        for bucket in ("hung", "far-lake"):
            first.make("grants", account=caller.account, name=bucket, to=caller.name, bucket=bucket, access="read-write", whole_bucket=True)
        lease = first.vend(caller, prefix=None, whole_bucket=True, bucket="hung")
        theirs = first.vend(other, prefix=None, whole_bucket=True)
        at = [dataclasses.replace(lease, endpoint=node.s3).boto3(read_timeout=60) for node in cluster.nodes]
        for number, s3 in enumerate(at):
            until("it is served", lambda s3=s3, number=number: heard(s3.put_object, Bucket="hung", Key=f"kept-{number}", Body=b"kept") == 200, 3.0)

        def ask_far(node):
            return node.call("POST", "/api/v1/credentials", caller.token, {"bucket": "far-lake", "access": "read", "whole_bucket": True})

        def others() -> tuple[float, float]:
            """How long a vend and a read of somebody else take, at the median, over all servers."""
            vends, reads = [], []
            for _ in range(25):
                for node in cluster.nodes:
                    began = time.monotonic()
                    assert node.ask(other).status == 200
                    vends.append(time.monotonic() - began)
                    began = time.monotonic()
                    assert node.opens(theirs, "seed")
                    reads.append(time.monotonic() - began)
            return statistics.median(vends), statistics.median(reads)

        before = others()
        store.fault(SILENCE)
        sts.fault(SILENCE)

        def hung(call) -> tuple[object, float]:
            began = time.monotonic()
            return call(), time.monotonic() - began

        with concurrent.futures.ThreadPoolExecutor(72) as pool:
            reads = [pool.submit(hung, lambda s3=s3: heard(s3.get_object, Bucket="hung", Key="kept-0")) for s3 in at for _ in range(10)]
            writes = [pool.submit(hung, lambda s3=s3: heard(s3.put_object, Bucket="hung", Key="half", Body=b"half")) for s3 in at for _ in range(5)]
            vends = [pool.submit(hung, lambda node=node: ask_far(node)) for node in cluster.nodes for _ in range(3)]
            until("it hangs", lambda: len(store.requests) >= 6)
            during = others()
            assert not all(one.done() for one in reads), "it hung all the while"
            for one in reads + writes:
                status, took = one.result()
                assert status in (503, 504), status
                assert took < 60, f"who asked waited {took:.1f} s"
            for one in vends:
                answer, took = one.result()
                assert answer.status in (502, 503, 504) and answer.headers["retry-after"], answer
                assert took < 15, f"who asked waited {took:.1f} s"
        longest = [max(one.result()[1] for one in some) for some in (reads + writes, vends)]
        # Two cores serve all of it, and the clients: a little slower is what so many requests at once make of it.
        for name, then, now in zip(("vend", "read"), before, during, strict=True):
            assert now < max(5 * then, 0.25), f"others wait for it: a {name} takes {now * 1000:.0f} ms, before {then * 1000:.0f} ms"
        assert [node.status() for node in cluster.nodes] == [200] * 3, "a store of somebody's is no reason to send nobody here"
        store.fault()
        sts.fault()
        back = 0.0
        for number, (node, s3) in enumerate(zip(cluster.nodes, at, strict=True)):
            back = max(back, until("it is served again", lambda s3=s3, number=number: heard(s3.get_object, Bucket="hung", Key=f"kept-{number}") == 200))
            back = max(back, until("it is vended again", lambda node=node: ask_far(node).status == 200))
        assert {"kept-0", "kept-1", "kept-2"} <= {one["Key"] for one in at[0].list_objects_v2(Bucket="hung")["Contents"]}
        print(
            f"a store hangs: others' vends {before[0] * 1000:.1f} -> {during[0] * 1000:.1f} ms, reads {before[1] * 1000:.1f} -> {during[1] * 1000:.1f} ms;"
            f" refused after {longest[0]:.1f} s at the longest, vends of it after {longest[1]:.1f} s; back {back:.1f} s after it"
        )
    for node in cluster.nodes:
        node.secrets |= {"parent-secret-that-nobody-sees"}
    cluster.verify()


def test_servers_are_restarted_one_after_the_other_and_a_client_that_tries_again_sees_nothing(cluster):
    caller = cluster.caller()
    failed, told, stop = [], [], threading.Event()

    def client():
        """Asks one server after the other, three times at most, as SDKs behind a balancer do."""
        number = 0
        while not stop.is_set():
            for _ in range(3):
                number += 1
                try:
                    answer = cluster.nodes[number % len(cluster.nodes)].ask(caller)
                except OSError:
                    continue
                if answer.status == 200:
                    told.append(1)
                    break
            else:
                failed.append(number)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(client) for _ in range(2)]
        try:
            for number in range(3):
                before = len(told)
                until("vends", lambda: len(told) > before + 20)
                old = cluster.nodes[number]
                old.stop()
                cluster.nodes[number] = cluster.join(f"node{number}")
                cluster.nodes.pop()
        finally:
            stop.set()
        for one in clients:
            one.result()
    assert failed == []
    cluster.verify()


def test_what_is_not_meant_is_refused_in_words_that_help(cluster, tmp_path):
    def refused(name: str, **settings: str) -> str:
        try:
            cluster.join(name, **settings)
        except RuntimeError as error:
            return str(error)
        raise AssertionError("it runs")

    cluster.join("embedded", VALETKEY_S3__EMBEDDED="true")
    assert "s3.embedded = false" in refused("embedded too", VALETKEY_S3__EMBEDDED="true")
    assert "another" in refused("other keyring", VALETKEY_KEYS__INLINE="1:" + "A" * 43 + "=")
    assert "`ledger.mode" in refused("relaxed", VALETKEY_LEDGER__MODE="relaxed")
    assert "s3.public_url" in refused("no url", VALETKEY_S3__PUBLIC_URL="")
    assert "password" in refused("wrong password", VALETKEY_DATABASE__PASSWORD="wrong")
    assert "cannot be opened" in refused("nobody there", VALETKEY_DATABASE__URL="postgres://valetkey@127.0.0.1:1/valetkey")
    assert "verify-full" in refused("not verified", VALETKEY_DATABASE__URL=cluster.postgres.url + "?sslmode=require")
    lost = cluster.offline("init", tmp_path / "second", VALETKEY_KEYS__FILE=str(tmp_path / "second" / "keyring"))
    assert lost.returncode != 0 and "used with a keyring already" in lost.stderr, lost
    cluster.postgres.sql("INSERT INTO _sqlx_migrations VALUES (9001, 'later', now(), true, '', 0)")
    assert "a newer valetkey wrote" in refused("older")
    cluster.postgres.sql("DELETE FROM _sqlx_migrations WHERE version = 9001")
    cluster.verify()


def test_what_many_servers_know_goes_to_one_file_and_back(cluster):
    """Credentials that are open stay so, what was revoked too; nothing is copied from under a server, or over what is there."""
    caller = cluster.caller()
    live, ended = (node.vend(caller, prefix=None, whole_bucket=True) for node in cluster.nodes[:2])
    assert cluster.nodes[2].call("DELETE", f"/api/v1/leases/{ended.id}", cluster.admin_token).status == 200
    leases = cluster.verify()["leases"]
    here, alone = cluster.directory / "first", cluster.directory / "alone" / "data"
    alone.mkdir(parents=True)
    without = cluster.offline("copy", here, "--to", str(alone))
    assert without.returncode != 0 and "keyring" in without.stderr, without
    shutil.copy(cluster.keyring, alone / "keyring")
    running = cluster.offline("copy", here, "--to", str(alone))
    assert running.returncode != 0 and "a server is running on it" in running.stderr, running

    logs = [node.log for node in cluster.nodes]
    cluster.stop()
    done = cluster.offline("copy", here, "--to", str(alone))
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    assert told["ledger"] == {"intact": True, "leases": leases, "chains": 3} and told["tables"]["callers"] > 1, told
    cluster.settings["VALETKEY_DATABASE__URL"] = ""
    node = cluster.join("alone")
    assert node.opens(live, "seed") and not node.opens(ended, "seed")
    assert node.ask(caller).status == 200
    assert cluster.verify()["leases"] == leases + 1
    logs.append(node.log)
    cluster.stop()

    cluster.postgres.sql("CREATE DATABASE again", "postgres")
    cluster.settings["VALETKEY_DATABASE__URL"] = cluster.postgres.url.removesuffix("valetkey") + "again"
    done = cluster.offline("copy", here, "--from", str(alone))
    assert done.returncode == 0, done
    full = cluster.offline("copy", here, "--from", str(alone))
    assert full.returncode != 0 and "is not empty" in full.stderr, full
    for name in ("node0", "node1"):
        node = cluster.join(name)
        assert node.opens(live, "seed") and not node.opens(ended, "seed")
        assert node.ask(caller).status == 200
    assert cluster.verify()["leases"] == leases + 3
    for answer in (done, full, running, without):
        assert cluster.postgres.PASSWORD not in answer.stdout + answer.stderr
    assert not [log for log in logs if cluster.postgres.PASSWORD in log.read_text()]
