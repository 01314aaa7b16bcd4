"""Keys of a real store that enforces them: Ceph, through its STS."""

import base64
import io
import json
import re
import uuid
from datetime import datetime, timedelta

import cloudflare
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from reach import ELSEWHERE, HERE, READ_WRITE, Scope, Table
from stores import s3_client

STORAGE = "ceph"


@pytest.fixture(scope="module", autouse=True)
def storage(server, ceph, tmp_path_factory):
    """The store, added on the command line, with a bucket whose keys are vended and one whose keys are not."""
    server.secrets.add(ceph.secrets["secret_access_key"])
    secrets = tmp_path_factory.mktemp("secrets") / "secrets.json"
    secrets.write_text(json.dumps(ceph.secrets))
    settings = {"profile": "ceph", "sts_endpoint": ceph.endpoint, "region": "us-east-1", "role_arn": ceph.role_arn}
    command = ["storage", "create", STORAGE, ceph.endpoint, "--kind", "sts", "--secrets-from", str(secrets)]
    made = server.cli(*command, *[part for setting in settings.items() for part in ("--set", "=".join(setting))])
    assert made.returncode == 0, made.stderr
    assert ceph.secrets["secret_access_key"] not in made.stdout + made.stderr
    for bucket in (HERE, ELSEWHERE):
        ceph.parent.create_bucket(Bucket=bucket)
        server.make("buckets", bucket=bucket, storage=STORAGE)
    shown = json.loads(made.stdout)
    assert (shown["region"], shown["min_ttl_secs"], shown["has_secrets"]) == ("us-east-1", 900, True)
    return shown


def client(lease):
    return s3_client(lease.endpoint, lease.access_key_id, lease.secret_access_key, lease.session_token)


@pytest.fixture(scope="module")
def everything(holder, storage):
    """Who may do everything in the bucket, and asks for less."""
    one = holder()
    one.grant(HERE, whole_bucket=True, access="read-write")
    return one


def directories(actions, *paths):
    return Scope(actions, prefixes=list(paths))


SCOPES = {
    "directory, read": directories("read", "jobs/daily"),
    "directory, read and write": directories("read-write", "jobs/daily"),
    "directory, write": directories("write", "jobs/daily"),
    "directory, get": directories(["get-object"], "jobs/daily"),
    "directory, list": directories(["list-bucket"], "jobs/daily"),
    "directory, delete": directories(["delete-object"], "jobs/daily"),
    "directory, all but list": directories(sorted(READ_WRITE - {"list-bucket", "list-uploads"}), "jobs/daily"),
    "object, read": Scope("read", objects=["jobs/daily"]),
    "object, write": Scope("write", objects=["jobs/daily"]),
    "text, read": Scope("read", raw_prefixes=["jobs/da"]),
    "bucket, read": Scope("read"),
    "bucket, read and write": Scope("read-write"),
    "names with $ first": directories("read", "$x"),
    "names like a variable": directories("read", "${aws:username}"[:2] + "x}"),
    "names with $ inside": Scope("read", objects=["k${y}z"], raw_prefixes=["t$t"]),
    "names with braces and quotes": directories("read-write", "a{b}'c\"d"),
    "names beyond ASCII": directories("read-write", "日本/ä", "😀"),
    "names with space, plus, percent, backslash": directories("read-write", "a b+c%2Fd\\e"),
    "many directories": directories("read", *[f"tables/t{number:02}" for number in range(15)]),
    "many objects": Scope(["get-object"], objects=[f"f/{number:02}.parquet" for number in range(30)]),
    "directory, object and text": Scope(
        "read", prefixes=["jobs/daily"], objects=["jobs/daily-secret/x"], raw_prefixes=["zz/to"]
    ),
}


class TestReach:
    @pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
    def test_of_a_key(self, ceph, everything, scope):
        lease = everything.vend(HERE, **scope.asked)
        table = Table(ceph.parent, client(lease), scope).run()
        assert len(table.rows) > 100
        assert table.wrong == []

    def test_of_a_grant_is_all_there_is_to_ask_for(self, ceph, holder):
        one = holder()
        one.grant(HERE, prefix="own/dir", access="read")
        scope = directories("read", "own/dir")
        table = Table(ceph.parent, client(one.vend(HERE, **scope.asked)), scope).run()
        assert table.wrong == []
        for wider in [
            {"prefix": "own"},
            {"prefix": "own/dir-secret"},
            {"whole_bucket": True},
            {"prefix": "own/dir", "access": "read-write"},
        ]:
            assert one.ask(bucket=HERE, **wider).status == 403
        assert one.ask(bucket=ELSEWHERE, prefix="own/dir").status in (403, 404)

    @pytest.mark.parametrize("path", ["a*b", "a?b", "a:b"])
    @pytest.mark.parametrize("kind", ["prefixes", "objects", "raw_prefixes"])
    def test_of_names_that_its_policies_cannot_say_is_refused(self, everything, kind, path):
        answer = everything.ask(bucket=HERE, **{kind: [path]})
        assert answer.status in (400, 422), answer
        assert f"`{path}`" in answer.json()["detail"]
        assert "policies" in answer.json()["detail"]

    def test_of_more_than_fits_is_refused_with_what_would_fit(self, everything):
        answer = everything.ask(bucket=HERE, prefixes=[f"tables/a-rather-long-name-{number:04}" for number in range(100)])
        assert answer.status in (400, 422), answer
        assert re.search(r"100 paths do not fit into one session policy; about \d+ do: request \d+ credentials", answer.json()["detail"])


class TestEnd:
    """Ceph gives no key a life below 15 minutes, and nobody waits for that here. Its session token is a sealed note of the
    key's end, so a note with another end stands for a key whose time is over; that the unchanged note is taken shows that
    nothing else is wrong with it. What this does not show is that the store's clock reaches the end that it named."""

    @staticmethod
    def sealed(ceph, lease, change):
        aes = Cipher(algorithms.AES(ceph.sealing_key.encode()), modes.CBC(b"cephsageyudagreg"))
        opened = aes.decryptor().update(base64.b64decode(lease.session_token))
        token = base64.b64encode(aes.encryptor().update(change(opened))).decode()
        return s3_client(lease.endpoint, lease.access_key_id, lease.secret_access_key, token)

    def test_a_key_opens_nothing_after_its_end(self, ceph, everything):
        ceph.parent.put_object(Bucket=HERE, Key="ends/x", Body=b"body")
        lease = everything.vend(HERE, prefix="ends", access="read")
        told = lease.expiration.strftime("%Y-%m-%dT%H:%M:%S").encode()
        ends = []

        def over(note):
            ends.extend(re.findall(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", note))
            return note.replace(ends[0], b"2020" + ends[0][4:], 1)

        assert self.sealed(ceph, lease, lambda note: note).get_object(Bucket=HERE, Key="ends/x")["Body"].read() == b"body"
        with pytest.raises(ClientError, match="AccessDenied"):
            self.sealed(ceph, lease, over).get_object(Bucket=HERE, Key="ends/x")
        # The end that was told is not after the store's.
        assert told <= ends[0]

    @pytest.mark.parametrize("at", [0, 50, -8])
    def test_a_changed_key_opens_nothing(self, ceph, everything, at):
        ceph.parent.put_object(Bucket=HERE, Key="ends/x", Body=b"body")
        lease = everything.vend(HERE, prefix="ends", access="read")
        token = list(lease.session_token)
        token[at] = "A" if token[at] != "A" else "B"
        changed = s3_client(lease.endpoint, lease.access_key_id, lease.secret_access_key, "".join(token))
        with pytest.raises(ClientError):
            changed.get_object(Bucket=HERE, Key="ends/x")
        for secret, token in [("0" * 40, lease.session_token), (lease.secret_access_key, None)]:
            with pytest.raises(ClientError):
                s3_client(lease.endpoint, lease.access_key_id, secret, token).get_object(Bucket=HERE, Key="ends/x")

    def test_a_key_lives_as_long_as_was_asked_for(self, everything):
        short = everything.vend(HERE, prefix="lives", access="read", ttl=900)
        long = everything.vend(HERE, prefix="lives", access="read", ttl=3600)
        assert timedelta(minutes=40) < long.expiration - short.expiration <= timedelta(minutes=46)
        refused = everything.ask(bucket=HERE, prefix="lives", ttl_secs=60)
        assert refused.status == 200 or "too short" in refused.json()["detail"]


class TestRecord:
    def test_names_the_caller_and_the_stores_own_request(self, server, everything):
        lease = everything.vend(HERE, prefix="record", access="read")
        whose = server.call("GET", f"/api/v1/whose/{lease.access_key_id}", server.admin_token)
        assert whose.status == 200, whose
        shown = whose.json()
        (shown,) = shown["leases"]
        assert (shown["caller_name"], shown["account_name"]) == (everything.name, everything.account)
        assert shown["lease_id"] == lease.id
        assert shown["store_key_id"] == lease.access_key_id
        assert shown["store_request_id"].startswith("tx")  # as Ceph's own log has it
        # What the store said, which is not what the lease says; they differ by what the store took to answer, at most.
        ends = datetime.fromisoformat(shown["store_expires"])
        assert abs(ends - lease.expiration) < timedelta(seconds=1)
        said = server.cli("whose", lease.access_key_id)
        assert said.returncode == 0 and everything.name in said.stdout, said

    def test_one_key_serves_the_same_ask_twice(self, server, everything):
        first, second = (everything.vend(HERE, prefix="twice", access="read") for _ in range(2))
        assert first.access_key_id == second.access_key_id
        assert first.id != second.id
        found = server.call("GET", f"/api/v1/whose/{first.access_key_id}", server.admin_token).json()["leases"]
        assert {lease["lease_id"] for lease in found} == {first.id, second.id}
        assert len({lease["store_request_id"] for lease in found}) == 1

    def test_of_a_key_is_shut_to_others(self, server, everything, holder):
        lease = everything.vend(HERE, prefix="record", access="read")
        assert server.call("GET", f"/api/v1/whose/{lease.access_key_id}", everything.token).status == 200
        assert server.call("GET", f"/api/v1/whose/{lease.access_key_id}", holder().token).status == 404

    def test_another_caller_gets_another_key(self, holder):
        account = None
        leases = []
        for _ in range(2):
            one = holder(account)
            account = one.account
            one.grant(HERE, prefix="twice", access="read")
            leases.append(one.vend(HERE, prefix="twice", access="read"))
        assert leases[0].access_key_id != leases[1].access_key_id

    def test_other_scopes_get_other_keys(self, everything):
        asks = [
            {"prefix": "twice", "access": "read"},
            {"prefix": "twice", "access": "read-write"},
            {"prefix": "twice/more", "access": "read"},
        ]
        assert len({everything.vend(HERE, **ask).access_key_id for ask in asks}) == 3


class TestHonesty:
    def test_a_key_that_only_its_end_can_end_says_so(self, everything):
        answer = everything.ask(bucket=HERE, prefix="honest")
        assert answer.status == 200, answer
        assert answer.json()["revocation"] == "expiry-only"

    def test_the_parents_key_is_never_handed_out_or_shown(self, server, ceph, everything):
        lease = everything.vend(HERE, prefix="honest", access="read")
        assert lease.access_key_id != ceph.secrets["access_key_id"]
        for path in ("storages", "ledger/verify"):
            answer = server.call("GET", f"/api/v1/{path}", server.admin_token)
            assert ceph.secrets["secret_access_key"].encode() not in answer.body
        assert ceph.secrets["secret_access_key"] not in server.cli("storage", "ls").stdout


@pytest.fixture(scope="module")
def ending(server, ceph, holder, tmp_path_factory):
    """Who reaches a bucket of a store whose credentials can be ended: by a role of its own, as the lever ends all of a role's."""
    secrets = tmp_path_factory.mktemp("ending") / "secrets.json"
    secrets.write_text(json.dumps(ceph.secrets))
    role = ceph.role_arn.replace("vendor", "ending")
    settings = ["profile=ceph", f"sts_endpoint={ceph.endpoint}", "region=us-east-1", f"role_arn={role}", "revoke.role_policy=valetkey-ended"]
    command = ["storage", "create", "ceph-ending", ceph.endpoint, "--kind", "sts", "--secrets-from", str(secrets)]
    made = server.cli(*command, *[part for setting in settings for part in ("--set", setting)])
    assert made.returncode == 0, made.stderr
    ceph.parent.create_bucket(Bucket="ending")
    ceph.parent.put_object(Bucket="ending", Key="jobs/x", Body=b"body")
    server.make("buckets", bucket="ending", storage="ceph-ending")
    one = holder()
    one.grant("ending", prefix="jobs", access="read")
    return one


class TestEnding:
    """`storage end-credentials`: the store itself refuses what was handed out before, and takes what is handed out after."""

    @staticmethod
    def read(lease):
        return client(lease).get_object(Bucket="ending", Key="jobs/x")["Body"].read()

    def test_what_was_handed_out_opens_nothing_and_the_next_does(self, server, ceph, everything, ending):
        other = everything.vend(HERE, prefix="ends", access="read")
        ceph.parent.put_object(Bucket=HERE, Key="ends/x", Body=b"body")
        # Again and again, as a lease of the second in which it was ended must be on one side or the other.
        for _ in range(4):
            lease = ending.vend("ending", prefix="jobs", access="read")
            assert self.read(lease) == b"body"
            ended = server.cli("storage", "end-credentials", "ceph-ending")
            assert ended.returncode == 0 and "valetkey-ended" in ended.stdout, ended
            refuses(lambda lease=lease: self.read(lease))
            fresh = ending.vend("ending", prefix="jobs", access="read")
            assert fresh.access_key_id != lease.access_key_id
            assert self.read(fresh) == b"body"
            refuses(lambda lease=lease: self.read(lease))
        # Sessions of another role are not concerned.
        assert client(other).get_object(Bucket=HERE, Key="ends/x")["Body"].read() == b"body"

    def test_it_is_said_how_soon_that_is(self, ending, everything):
        assert ending.ask(bucket="ending", prefix="jobs").json()["revocation"] == "minutes"
        assert everything.ask(bucket=HERE, prefix="jobs").json()["revocation"] == "expiry-only"

    def test_where_it_is_not_configured_it_is_refused_with_what_to_do(self, server):
        refused = server.call("POST", f"/api/v1/storages/{STORAGE}/revocations", server.admin_token, {})
        assert refused.status in (400, 422), refused
        assert "aws:TokenIssueTime" in refused.json()["detail"]

    def test_it_is_for_operators(self, server, ending):
        refused = server.call("POST", "/api/v1/storages/ceph-ending/revocations", ending.token, {})
        assert refused.status in (403, 404), refused


class TestChecks:
    """`storage check`: the store is asked, live, whether it keeps what it is told."""

    def test_all_hold(self, server):
        checked = server.cli("storage", "check", STORAGE, "--bucket", HERE)
        assert checked.returncode == 0, checked
        answer = server.call("POST", f"/api/v1/storages/{STORAGE}/checks", server.admin_token, {"bucket": HERE})
        assert answer.status == 200, answer
        report = answer.json()
        assert report["passed"] is True and report["left"] == [], report
        assert len(report["checks"]) > 4
        # This store can say all that is tried but one: to `?attributes`, which it does not know, it sends the object.
        assert [check["check"] for check in report["checks"] if check["status"] != "passed"] == ["beyond-attributes"]
        reasons = {check["check"]: check["reason"] for check in report["checks"]}
        for closed in ("beyond-tags", "beyond-acl", "beyond-versions", "beyond-untag"):
            assert reasons[closed].startswith("closed: refused with 403"), reasons
        assert reasons["get-astray"] == "nothing is there", reasons

    def test_wrong_secrets_are_found(self, server, ceph):
        settings = {"profile": "ceph", "sts_endpoint": ceph.endpoint, "region": "us-east-1", "role_arn": ceph.role_arn}
        server.make(
            "storages",
            name="ceph-with-wrong-secrets",
            kind="sts",
            endpoint=ceph.endpoint,
            region="us-east-1",
            settings=settings,
            secrets=ceph.secrets | {"secret_access_key": "wrong" * 8},
        )
        server.make("buckets", bucket="reach-wrong", storage="ceph-with-wrong-secrets")
        checked = server.cli("storage", "check", "ceph-with-wrong-secrets", "--bucket", "reach-wrong")
        assert checked.returncode != 0
        assert "wrong" * 8 not in checked.stdout + checked.stderr


def refuses(*calls) -> None:
    for call in calls:
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


class TestDialects:
    """The same grants through the other APIs."""

    def test_theirstack(self, server, ceph, holder):
        one = holder()
        for name in ("sold", "sold-secret"):
            ceph.parent.put_object(Bucket=HERE, Key=f"{name}/x", Body=b"body")
        dataset = server.make("datasets", name="ceph-sold", topic="sold", bucket=HERE, prefix="sold")
        one.grant(HERE, dataset=dataset["name"], access="read")
        answer = server.call("POST", "/v1/datasets/credentials", one.token)
        assert answer.status == 200, answer
        vended = answer.json()
        storage = vended["storage"]
        assert (storage["bucket_name"], storage["endpoint_url"]) == (HERE, ceph.endpoint)
        s3 = s3_client(ceph.endpoint, vended["access_key_id"], vended["secret_access_key"], vended["session_token"])
        assert s3.get_object(Bucket=HERE, Key="sold/x")["Body"].read() == b"body"
        assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=HERE, Prefix="sold/")["Contents"]] == ["sold/x"]
        refuses(
            lambda: s3.get_object(Bucket=HERE, Key="sold-secret/x"),
            lambda: s3.put_object(Bucket=HERE, Key="sold/x", Body=b"x"),
            lambda: s3.list_objects_v2(Bucket=HERE, Prefix="sold"),
        )

    def test_dreadnode(self, server, ceph, holder):
        one = holder()
        ceph.parent.put_object(Bucket=HERE, Key="outside/x", Body=b"body")
        server.make("workspaces", account=one.account, key="agents", bucket=HERE, callers=[one.name])
        answer = server.call("GET", f"/api/v1/org/{one.account}/ws/agents/storage/credentials", one.token)
        assert answer.status == 200, answer
        vended = server.noted(answer).json()
        assert (vended["bucket"], vended["endpoint"], vended["region"]) == (HERE, ceph.endpoint, "us-east-1")
        s3 = s3_client(ceph.endpoint, vended["access_key_id"], vended["secret_access_key"], vended["session_token"])
        for part in ("artifacts", "cas"):
            at = {"Bucket": HERE, "Key": f"{vended['prefix']}/{part}/sha256/x"}
            s3.put_object(**at, Body=b"body")
            assert s3.get_object(**at)["Body"].read() == b"body"
            refuses(lambda at=at: s3.delete_object(**at))
        refuses(
            lambda: s3.put_object(Bucket=HERE, Key=f"{vended['prefix']}/other", Body=b"x"),
            lambda: s3.get_object(Bucket=HERE, Key="outside/x"),
        )

    def test_r2(self, server, ceph, holder):
        one = holder()
        for key in ("uploads/1/x", "uploads/2/x"):
            ceph.parent.put_object(Bucket=HERE, Key=key, Body=b"body")
        parent = server.make("parent-keys", name="ceph", account=one.account, buckets=[HERE], permission="object-read-write")
        server.secrets |= {parent["token"], parent["secret_access_key"]}
        assert parent["endpoint"] == ceph.endpoint
        client = cloudflare.Cloudflare(api_token=parent["token"], base_url=f"{server.api}/client/v4", max_retries=0)
        vended = client.r2.temporary_credentials.create(
            account_id=parent["account_id"],
            bucket=HERE,
            parent_access_key_id=parent["access_key_id"],
            permission="object-read-only",
            ttl_seconds=900,
            prefixes=["uploads/1/"],
        )
        server.secrets |= {vended.secret_access_key, vended.session_token}
        s3 = s3_client(ceph.endpoint, vended.access_key_id, vended.secret_access_key, vended.session_token)
        assert s3.get_object(Bucket=HERE, Key="uploads/1/x")["Body"].read() == b"body"
        refuses(
            lambda: s3.get_object(Bucket=HERE, Key="uploads/2/x"),
            lambda: s3.put_object(Bucket=HERE, Key="uploads/1/x", Body=b"x"),
        )

    def test_delta_sharing(self, server, ceph, holder):
        provider, one, other = holder(), holder(), holder()
        rows = write_table(ceph.parent, "tables/sales")
        write_table(ceph.parent, "tables/sales-secret")
        server.make("shares", name="ceph", account=provider.account)
        table = {"schema": "shop", "bucket": HERE, "root": "tables/sales"}
        server.make("shares/ceph/tables", name="sales", access="both", **table)
        server.make("shares/ceph/tables", name="keys", access="dir", **table)
        given = server.make("shares/ceph/recipients", account=one.account, to=one.name)
        assert given
        tables = "/delta-sharing/shares/ceph/schemas/shop/tables"

        answer = server.call("POST", f"{tables}/sales/temporary-table-credentials", one.token)
        assert answer.status == 200, answer
        vended = answer.json()["credentials"]
        assert vended["location"] == f"s3://{HERE}/tables/sales"
        keys = vended["awsTempCredentials"]
        s3 = s3_client(ceph.endpoint, keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])
        assert s3.get_object(Bucket=HERE, Key="tables/sales/part-0.parquet")["Body"].read() == rows
        refuses(
            lambda: s3.get_object(Bucket=HERE, Key="tables/sales-secret/part-0.parquet"),
            lambda: s3.put_object(Bucket=HERE, Key="tables/sales/part-0.parquet", Body=b"x"),
        )

        # By URL, too: this server reads the log with keys of its own, and signs the files with them.
        answer = server.call("POST", f"{tables}/sales/query", one.token, {})
        assert answer.status == 200, answer
        (url,) = [line["file"]["url"] for line in map(json.loads, answer.body.splitlines()) if "file" in line]
        assert url.startswith(f"{ceph.endpoint}/{HERE}/tables/sales/part-0.parquet?"), url.split("?")[0]
        assert requests.get(url, timeout=30).content == rows
        for elsewhere in ("sales-secret/part-0.parquet", "sales/_delta_log/00000000000000000000.json"):
            assert requests.get(url.replace("sales/part-0.parquet", elsewhere), timeout=30).status_code == 403
        assert requests.put(url, data=b"x", timeout=30).status_code == 403
        assert server.call("POST", f"{tables}/keys/query", one.token, {}).status == 400
        assert server.call("POST", f"{tables}/sales/query", other.token, {}).status == 404


def write_table(s3, root: str) -> bytes:
    """A Delta table of one file, whose bytes are returned."""
    out = io.BytesIO()
    pq.write_table(pa.table({"n": [1, 2, 3]}), out)
    rows = out.getvalue()
    schema = {"type": "struct", "fields": [{"name": "n", "type": "long", "nullable": True, "metadata": {}}]}
    actions = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": str(uuid.uuid4()),
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(schema),
                "partitionColumns": [],
                "configuration": {},
            }
        },
        {
            "add": {
                "path": "part-0.parquet",
                "partitionValues": {},
                "size": len(rows),
                "modificationTime": 0,
                "dataChange": True,
            }
        },
    ]
    s3.put_object(Bucket=HERE, Key=f"{root}/part-0.parquet", Body=rows)
    log = "\n".join(map(json.dumps, actions)).encode()
    s3.put_object(Bucket=HERE, Key=f"{root}/_delta_log/00000000000000000000.json", Body=log)
    return rows


class TestChanges:
    """Last: what is done here concerns the store as a whole."""

    def test_callers_may_be_let_share(self, server, holder):
        one, other = holder(), holder()
        for each in (one, other):
            each.grant(HERE, prefix="shared", access="read")
        before = {each.vend(HERE, prefix="shared", access="read").access_key_id for each in (one, other)}
        changed = server.call("PATCH", f"/api/v1/storages/{STORAGE}", server.admin_token, {"sharing": "anyone"})
        assert changed.status == 200 and changed.json()["sharing"] == "anyone", changed
        after = {each.vend(HERE, prefix="shared", access="read").access_key_id for each in (one, other)}
        assert (len(before), len(after)) == (2, 1)
        assert not before & after

    def test_what_cannot_work_is_refused(self, server, ceph):
        for wrong in [
            {"kind": "azure"},
            {"name": "other"},
            {"min_ttl_secs": 60},
            {"settings": {"profile": "ceph"}},
            {"settings": {"unheard": "of"}},
            {"secrets": {"access_key_id": "only"}},
        ]:
            answer = server.call("PATCH", f"/api/v1/storages/{STORAGE}", server.admin_token, wrong)
            assert answer.status in (400, 422), answer
        for token in (None, "wrong"):
            assert server.call("PATCH", f"/api/v1/storages/{STORAGE}", token, {"sharing": "caller"}).status == 401

    def test_members_change_nothing(self, server, everything):
        for method, path, body in [
            ("GET", "storages", None),
            ("PATCH", f"storages/{STORAGE}", {"sharing": "caller"}),
            ("POST", f"storages/{STORAGE}/checks", {"bucket": HERE}),
            ("POST", f"storages/{STORAGE}/revocations", {}),
        ]:
            assert server.call(method, f"/api/v1/{path}", everything.token, body).status in (403, 404)

    def test_a_store_out_of_order_takes_nothing_from_those_who_have_a_key(self, server, ceph, everything):
        """Its secrets are made wrong: who has a key is served on, who has none is told that the store does not work."""
        settings = {"profile": "ceph", "sts_endpoint": ceph.endpoint, "region": "us-east-1", "role_arn": ceph.role_arn}
        broken = settings | {"role_arn": "arn:aws:iam:::role/gone"}
        answer = server.call("PATCH", f"/api/v1/storages/{STORAGE}", server.admin_token, {"settings": broken})
        assert answer.status == 200, answer
        refused = everything.ask(bucket=HERE, prefix="fresh")
        assert refused.status in (502, 503), refused
        assert "gone" not in refused.body.decode()
        answer = server.call("PATCH", f"/api/v1/storages/{STORAGE}", server.admin_token, {"settings": settings})
        assert answer.status == 200, answer
        assert everything.ask(bucket=HERE, prefix="fresh").status == 200


def test_its_check_passes_and_leaves_nothing(server, ceph, storage):
    done = server.cli("storage", "check", STORAGE, "--bucket", HERE)
    report = json.loads(done.stdout)
    assert [row["check"] for row in report["checks"] if row["status"] != "passed"] == ["beyond-attributes"]
    assert done.returncode == 0 and report["passed"]
    assert ceph.parent.list_objects_v2(Bucket=HERE, Prefix=".valetkey/")["KeyCount"] == 0
    assert report["left"] == []


def test_a_check_says_what_the_store_answered(server, ceph, tmp_path):
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps(ceph.secrets))
    settings = ["profile=ceph", f"sts_endpoint={ceph.endpoint}", "region=us-east-1", "role_arn=arn:aws:iam:::role/nobody"]
    command = ["storage", "create", "astray", ceph.endpoint, "--kind", "sts", "--secrets-from", str(secrets)]
    made = server.cli(*command, *[part for setting in settings for part in ("--set", setting)])
    assert made.returncode == 0, made.stderr
    server.make("buckets", bucket="astray", storage="astray")
    done = server.cli("storage", "check", "astray")
    first, *others = json.loads(done.stdout)["checks"]
    assert done.returncode == 1
    assert first["status"] == "failed" and "NoSuchEntity" in first["reason"] and "role_arn" in first["reason"]
    assert {row["status"] for row in others} == {"skipped"}
    assert ceph.secrets["secret_access_key"] not in done.stdout + done.stderr
