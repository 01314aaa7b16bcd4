"""Delta Sharing, driven by its own Python client; and the same table read with keys, by readers that know nothing of sharing."""

import io
import json
import os
import struct
import subprocess
import urllib.parse
import uuid
import zlib

import boto3
import delta_sharing
import deltalake
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from deltalake.exceptions import DeltaError
from delta_sharing.protocol import Table

# The versions of the demo's table, in rows; `demo/README.md`.
ROWS = [2699, 3614, 3586, 3586]
SHARED = "/shares/flights/schemas/nyc/tables/departures"


@pytest.fixture(scope="module")
def profile(server):
    return server.delta_sharing["profile"]


@pytest.fixture(scope="module")
def written(profile, tmp_path_factory):
    """The profile as a file, as recipients have it."""
    path = tmp_path_factory.mktemp("profile") / "config.share"
    path.write_text(json.dumps(profile))
    return path


@pytest.fixture(scope="module")
def client(written):
    return delta_sharing.SharingClient(str(written))


@pytest.fixture(scope="module")
def url(written):
    return f"{written}#flights.nyc.departures"


@pytest.fixture(scope="module")
def cli(server):
    """The command line, as the operator."""

    def cli(*words):
        environment = os.environ | {"VALETKEY_SERVER": server.api, "VALETKEY_TOKEN": server.admin_token}
        done = subprocess.run([os.environ["VALETKEY_BIN"], *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return cli


def ask(profile, method, path, body=None, **headers):
    headers = {"Authorization": f"Bearer {profile['bearerToken']}"} | headers
    data = None if body is None else json.dumps(body)
    return requests.request(method, profile["endpoint"] + path, data=data, headers=headers, timeout=30)


def credentials(server, profile, table=SHARED, location=None):
    answer = ask(profile, "POST", f"{table}/temporary-table-credentials", location and {"location": location})
    assert answer.status_code == 200, answer.text
    given = answer.json()["credentials"]
    server.secrets |= {given["awsTempCredentials"]["secretAccessKey"], given["awsTempCredentials"]["sessionToken"]}
    return given


def options(server, given):
    keys = given["awsTempCredentials"]
    return {
        "aws_endpoint_url": server.s3,
        "aws_region": "auto",
        "aws_access_key_id": keys["accessKeyId"],
        "aws_secret_access_key": keys["secretAccessKey"],
        "aws_session_token": keys["sessionToken"],
        "aws_allow_http": "true",
        "aws_conditional_put": "etag",
    }


def s3(server, given):
    keys = given["awsTempCredentials"]
    return boto3.client(
        "s3",
        endpoint_url=server.s3,
        region_name="auto",
        aws_access_key_id=keys["accessKeyId"],
        aws_secret_access_key=keys["secretAccessKey"],
        aws_session_token=keys["sessionToken"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def code(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


class TestPythonClient:
    def test_lists_what_was_given(self, client):
        assert client.list_all_tables() == [Table(name="departures", share="flights", schema="nyc")]
        (share,) = client.list_shares()
        (schema,) = client.list_schemas(share)
        assert [table.name for table in client.list_tables(schema)] == ["departures"]

    @pytest.mark.parametrize("use_delta_format", [None, False, True])
    def test_reads_the_table(self, url, use_delta_format):
        frame = delta_sharing.load_as_pandas(url, use_delta_format=use_delta_format)
        assert len(frame) == ROWS[-1]
        assert set(frame["origin"]) == {"EWR", "JFK", "LGA"}

    @pytest.mark.parametrize("use_delta_format", [False, True])
    @pytest.mark.parametrize("version", range(4))
    def test_reads_each_version(self, url, version, use_delta_format):
        assert len(delta_sharing.load_as_pandas(url, version=version, use_delta_format=use_delta_format)) == ROWS[version]

    def test_reads_as_much_as_it_wants(self, url):
        assert len(delta_sharing.load_as_pandas(url, limit=7)) == 7

    def test_reads_only_the_files_that_can_match(self, url, profile):
        hint = {
            "op": "equal",
            "children": [
                {"op": "column", "name": "origin", "valueType": "string"},
                {"op": "literal", "value": "JFK", "valueType": "string"},
            ],
        }
        frame = delta_sharing.load_as_pandas(url, jsonPredicateHints=json.dumps(hint))
        assert set(frame["origin"]) == {"JFK"} and len(frame) < ROWS[-1]

    def test_tells_versions_and_metadata(self, url):
        assert delta_sharing.get_table_version(url) == 3
        assert delta_sharing.get_table_version(url, starting_timestamp="2020-01-01T00:00:00Z") == 0
        assert delta_sharing.get_table_metadata(url).partition_columns == ["origin"]
        assert delta_sharing.get_table_protocol(url).min_reader_version == 1

    @pytest.mark.parametrize("use_delta_format", [None, True])
    def test_reads_the_changes(self, url, use_delta_format):
        frame = delta_sharing.load_table_changes_as_pandas(
            url, starting_version=1, ending_version=3, use_delta_format=use_delta_format
        )
        counts = frame.groupby(["_commit_version", "_change_type"]).size().to_dict()
        assert counts == {(1, "insert"): 915, (2, "delete"): 28, (3, "update_preimage"): 31, (3, "update_postimage"): 31}

    def test_is_told_at_once_what_is_refused(self, written):
        with pytest.raises(requests.HTTPError) as refused:
            delta_sharing.load_as_pandas(f"{written}#flights.nyc.nothing")
        assert refused.value.response.status_code == 404


class TestProfiles:
    def read(self, path, tmp_path, profile):
        file = tmp_path / "made.share"
        file.write_text(json.dumps(profile))
        return len(delta_sharing.load_as_pandas(f"{file}#flights.nyc.departures"))

    def test_basic(self, server, profile, tmp_path):
        for name in ("recipient", "__token__"):
            basic = {
                "shareCredentialsVersion": 2,
                "type": "basic",
                "endpoint": profile["endpoint"],
                "username": name,
                "password": profile["bearerToken"],
            }
            assert self.read("basic", tmp_path, basic) == ROWS[-1]
        other = requests.get(profile["endpoint"] + "/shares", auth=("partner", profile["bearerToken"]), timeout=30)
        assert other.status_code == 401

    def made(self, server, cli, *flags):
        made = json.loads(cli("share", "profile", *flags, "--account", "globex", "--caller", "recipient"))
        server.secrets |= {made[name] for name in ("bearerToken", "clientSecret") if name in made}
        return made

    def test_oauth(self, server, cli, tmp_path):
        made = self.made(server, cli, "create", "--oauth", "--ttl", "1h")
        assert (made["type"], made["shareCredentialsVersion"]) == ("oauth_client_credentials", 2)
        assert self.read("oauth", tmp_path, made) == ROWS[-1]

    def test_a_profile_that_was_made_and_written(self, server, cli, tmp_path):
        file = tmp_path / "new.share"
        cli("share", "profile", "create", "--account", "globex", "--caller", "recipient", "--ttl", "2d", "--file", str(file))
        assert file.stat().st_mode & 0o077 == 0
        made = json.loads(file.read_text())
        server.secrets.add(made["bearerToken"])
        assert made["shareCredentialsVersion"] == 1 and made["expirationTime"].endswith("Z")
        assert len(delta_sharing.load_as_pandas(f"{file}#flights.nyc.departures")) == ROWS[-1]

    def test_a_link_is_good_once(self, server, cli, tmp_path):
        link = cli("share", "profile", "create", "--account", "globex", "--caller", "recipient", "--link").strip()
        server.secrets.add(link.rsplit("/", 1)[1])
        assert requests.head(link, timeout=30).status_code == 204
        first = requests.get(link, timeout=30)
        assert first.status_code == 200 and "config.share" in first.headers["content-disposition"]
        server.secrets.add(first.json()["bearerToken"])
        assert self.read("link", tmp_path, first.json()) == ROWS[-1]
        assert requests.get(link, timeout=30).status_code == 404

    def test_rotation_ends_the_old_ones(self, server, cli):
        name = "rotating"
        cli("token", "create", name, "--account", "globex")
        old = json.loads(cli("share", "profile", "create", "--account", "globex", "--caller", name))
        graced = json.loads(cli("share", "profile", "rotate", "--account", "globex", "--caller", name))
        assert ask(old, "GET", "/shares").status_code == 200, "within the grace period"
        new = json.loads(cli("share", "profile", "rotate", "--account", "globex", "--caller", name, "--grace", "0"))
        server.secrets |= {profile["bearerToken"] for profile in (old, graced, new)}
        assert [ask(profile, "GET", "/shares").status_code for profile in (old, graced, new)] == [401, 401, 200]


class TestDirectory:
    """The table as such, with keys from `temporary-table-credentials`."""

    def test_deltalake_reads_it(self, server, profile):
        given = credentials(server, profile)
        assert given["location"] == "s3://flights-lake/tables/flights"
        for version, rows in enumerate(ROWS):
            table = deltalake.DeltaTable(given["location"], version=version, storage_options=options(server, given))
            assert table.to_pyarrow_dataset().count_rows() == rows

    def test_polars_reads_it(self, server, profile):
        given = credentials(server, profile)
        frame = pl.scan_delta(
            given["location"], storage_options=options(server, given), credential_provider=None
        )
        assert frame.select(pl.len()).collect().item() == ROWS[-1]

    def test_keys_open_nothing_else(self, server, profile):
        keys = s3(server, credentials(server, profile))
        bucket = "flights-lake"
        missing = "tables/flights/_delta_log/_last_checkpoint"
        assert code(keys.get_object, Bucket=bucket, Key=missing) == "NoSuchKey"
        for key in ("tables/flights2/x", "tables/flights-secret/x", "tables/x", "flights/daily/2013-01-01.parquet"):
            assert code(keys.get_object, Bucket=bucket, Key=key) == "AccessDenied", key
        for prefix in ("", "tables/", "tables/flights2/", "tables/flights-secret/", "flights/"):
            assert code(keys.list_objects_v2, Bucket=bucket, Prefix=prefix) == "AccessDenied", prefix
        inside = "tables/flights/_delta_log/00000000000000000000.json"
        assert code(keys.put_object, Bucket=bucket, Key=inside, Body=b"x") == "AccessDenied"
        assert code(keys.delete_object, Bucket=bucket, Key=inside) == "AccessDenied"

    def test_nothing_is_written(self, server, profile):
        given = credentials(server, profile)
        with pytest.raises((DeltaError, OSError)):
            deltalake.write_deltalake(
                given["location"],
                pa.table({"origin": ["JFK"]}),
                mode="append",
                schema_mode="merge",
                storage_options=options(server, given),
            )
        assert deltalake.DeltaTable(given["location"], storage_options=options(server, given)).version() == 3

    def test_a_narrower_place(self, server, profile):
        given = credentials(server, profile, location="s3a://flights-lake/tables/flights/_delta_log/")
        assert given["location"] == "s3a://flights-lake/tables/flights/_delta_log/"
        keys = s3(server, given)
        assert keys.list_objects_v2(Bucket="flights-lake", Prefix="tables/flights/_delta_log/")["KeyCount"] >= 4
        assert code(keys.list_objects_v2, Bucket="flights-lake", Prefix="tables/flights/origin=JFK/") == "AccessDenied"


class TestUrls:
    @pytest.fixture
    def files(self, server, profile):
        answer = ask(profile, "POST", f"{SHARED}/query", {})
        assert answer.headers["delta-table-version"] == "3"
        files = [json.loads(line)["file"] for line in answer.text.splitlines()[2:]]
        for file in files:
            query = dict(urllib.parse.parse_qsl(file["url"].split("?", 1)[1]))
            server.secrets |= {query["X-Amz-Security-Token"], query["X-Amz-Signature"]}
        return files

    def test_each_opens_its_file_and_no_other(self, files):
        first, second = files[0]["url"], files[1]["url"]
        assert requests.get(first, timeout=30).content.startswith(b"PAR1")
        part = requests.get(first, headers={"Range": "bytes=0-3"}, timeout=30)
        assert (part.status_code, part.content) == (206, b"PAR1")
        assert requests.head(first, timeout=30).status_code == 403
        mixed = second.split("?")[0] + "?" + first.split("?", 1)[1]
        assert requests.get(mixed, timeout=30).status_code == 403
        assert requests.put(first, data=b"x", timeout=30).status_code == 403

    def test_they_survive_what_clients_do_to_queries(self, files):
        path, query = files[0]["url"].split("?", 1)
        for quoted in (query.replace("%2F", "/"), urllib.parse.urlencode(urllib.parse.parse_qsl(query))):
            assert requests.get(f"{path}?{quoted}", timeout=30).status_code == 200

    def test_they_end_with_the_lease(self, server, files):
        url = files[0]["url"]
        key = urllib.parse.parse_qs(url.split("?", 1)[1])["X-Amz-Credential"][0].split("/")[0]
        lease = server.call("GET", f"/api/v1/whose/{key}", server.admin_token).json()
        assert requests.get(url, timeout=30).status_code == 200
        assert server.call("DELETE", f"/api/v1/leases/{lease['lease_id']}", server.admin_token).status in (200, 204)
        assert requests.get(url, timeout=30).status_code == 400


@pytest.fixture(scope="module")
def shared(server, cli, writing):
    """A table that this run wrote, through keys of the server's own, and shared by the command line."""
    place = f"s3://{writing.bucket}/{writing.prefix}/shared/sales"
    given = {
        "awsTempCredentials": {
            "accessKeyId": writing.access_key_id,
            "secretAccessKey": writing.secret_access_key,
            "sessionToken": writing.session_token,
        }
    }
    how = options(server, given)
    for day in range(1, 13):
        rows = pa.table({"day": [f"2026-07-{day:02}"] * 3, "sold": [day, day + 1, day + 2]})
        deltalake.write_deltalake(place, rows, mode="append", partition_by=["day"], storage_options=how)
    table = deltalake.DeltaTable(place, storage_options=how)
    table.create_checkpoint()
    rows = pa.table({"day": ["2026-08-01"], "sold": [100]})
    deltalake.write_deltalake(place, rows, mode="append", partition_by=["day"], storage_options=how)
    cli("share", "create", "Sales", "--account", "acme", "--comment", "what was sold")
    cli("share", "table", "add", "Sales", "Shop.Daily", place, "--access", "both")
    cli("share", "table", "add", "Sales", "Shop.Files", place, "--access", "url", "--history", "latest")
    cli("share", "table", "add", "Sales", "Shop.Keys", place, "--access", "dir")
    cli("share", "create", "Hidden", "--account", "acme")
    cli("share", "table", "add", "Hidden", "Shop.Daily", place)
    cli("share", "grant", "Sales", "--to", "globex/recipient")
    return place


class TestOtherTables:
    def test_is_read_by_url_and_with_keys(self, shared, server, written, profile):
        frame = delta_sharing.load_as_pandas(f"{written}#sales.SHOP.daily")
        assert (len(frame), frame["sold"].sum()) == (37, sum(3 * day + 3 for day in range(1, 13)) + 100)
        assert len(delta_sharing.load_as_pandas(f"{written}#Sales.Shop.Files", use_delta_format=True)) == 37
        given = credentials(server, profile, "/shares/Sales/schemas/Shop/tables/Keys")
        table = deltalake.DeltaTable(given["location"], storage_options=options(server, given))
        assert table.to_pyarrow_dataset().count_rows() == 37

    def test_is_refused_in_the_mode_it_is_not_shared_in(self, shared, profile):
        files, keys = "/shares/Sales/schemas/Shop/tables/Files", "/shares/Sales/schemas/Shop/tables/Keys"
        assert ask(profile, "POST", f"{files}/temporary-table-credentials").status_code == 400
        assert ask(profile, "POST", f"{files}/query", {"version": 0}).status_code == 400
        refused = ask(profile, "POST", f"{keys}/query", {})
        assert (refused.status_code, refused.json()["errorCode"]) == (400, "INVALID_PARAMETER_VALUE")

    def test_who_reads_with_keys_is_told_of_the_table_first(self, shared, profile, written):
        keys = "/shares/Sales/schemas/Shop/tables/Keys"
        assert ask(profile, "GET", f"{keys}/version").headers["delta-table-version"] == "12"
        told = [json.loads(line) for line in ask(profile, "GET", f"{keys}/metadata").text.splitlines()]
        given = ask(profile, "POST", f"{keys}/temporary-table-credentials").json()["credentials"]
        assert told[1]["metaData"]["accessModes"] == ["dir"] and told[1]["metaData"]["location"] == given["location"]
        assert delta_sharing.get_table_metadata(f"{written}#Sales.Shop.Keys").partition_columns == ["day"]

    def test_what_was_not_given_is_not_there(self, shared, client, profile):
        assert {share.name for share in client.list_shares()} == {"flights", "Sales"}
        for tail in ("", "/schemas", "/all-tables", "/schemas/Shop/tables/Daily/metadata"):
            hidden, absent = (ask(profile, "GET", f"/shares/{name}{tail}") for name in ("Hidden", "Absent"))
            assert (hidden.status_code, hidden.text.replace("Hidden", "Absent")) == (404, absent.text)

    def test_what_is_taken_back_ends(self, shared, server, cli, profile):
        given = credentials(server, profile, "/shares/Sales/schemas/Shop/tables/Keys")
        keys = s3(server, given)
        bucket, prefix = shared.removeprefix("s3://").split("/", 1)
        assert keys.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/_delta_log/")["KeyCount"] > 12
        cli("share", "ungrant", "Sales", "--from", "globex/recipient")
        assert code(keys.list_objects_v2, Bucket=bucket, Prefix=f"{prefix}/_delta_log/") == "ExpiredToken"
        assert ask(profile, "GET", "/shares/Sales").status_code == 404


# --- tables that only readers of Delta's newer features read; no writer here makes them, so their logs are written by hand


def z85(data: bytes) -> str:
    """Base 85 as the Delta log writes identifiers and small vectors (ZeroMQ RFC 32)."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    words = (int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4))
    return "".join(digits[word // 85**place % 85] for word in words for place in (4, 3, 2, 1, 0))


def deleted(*rows: int) -> bytes:
    """A vector of deleted rows: a 64-bit roaring bitmap with one array (Delta protocol, "Deletion Vector Format")."""
    array = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16) + b"".join(struct.pack("<H", row) for row in rows)
    return struct.pack("<IQI", 1681511377, 1, 0) + array


@pytest.fixture(scope="module")
def newer(server, cli, writing):
    """A table with deletion vectors and one with mapped columns, each of the numbers 0 to 9."""
    client = writing.boto3()
    root = f"{writing.prefix}/shared"

    def put(key, data):
        client.put_object(Bucket=writing.bucket, Key=f"{root}/{key}", Body=data)

    def parquet(column):
        sink = io.BytesIO()
        pq.write_table(pa.table({column: pa.array(range(10), pa.int64())}), sink)
        return sink.getvalue()

    def log(name, protocol, column, configuration, add):
        schema = {"type": "struct", "fields": [{"name": "n", "type": "long", "nullable": True, "metadata": column}]}
        metadata = {
            "id": str(uuid.uuid4()),
            "format": {"provider": "parquet", "options": {}},
            "schemaString": json.dumps(schema),
            "partitionColumns": [],
            "configuration": configuration,
            "createdTime": 1767225600000,
        }
        known = {"partitionValues": {}, "modificationTime": 1767225600000, "dataChange": True}
        actions = [{"protocol": protocol}, {"metaData": metadata}, {"add": known | add}]
        put(f"{name}/_delta_log/{0:020}.json", "\n".join(map(json.dumps, actions)).encode())

    plain, mapped = parquet("n"), parquet("col-7f")
    put("vectors/part-0.parquet", plain)
    id, vector = uuid.uuid4(), deleted(0, 3, 9)
    put(f"vectors/deletion_vector_{id}.bin", b"\1" + struct.pack(">I", len(vector)) + vector + struct.pack(">I", zlib.crc32(vector)))
    features = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"]}
    gone = {"storageType": "u", "pathOrInlineDv": z85(id.bytes), "offset": 1, "sizeInBytes": len(vector), "cardinality": 3}
    add = {"path": "part-0.parquet", "size": len(plain), "stats": '{"numRecords":10}', "deletionVector": gone}
    log("vectors", features | {"writerFeatures": ["deletionVectors"]}, {}, {"delta.enableDeletionVectors": "true"}, add)

    put("mapped/part-0.parquet", mapped)
    names = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-7f"}
    on = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "1"}
    add = {"path": "part-0.parquet", "size": len(mapped), "stats": '{"numRecords":10}'}
    log("mapped", {"minReaderVersion": 2, "minWriterVersion": 5}, names, on, add)

    times = pa.table({"n": [1, 2, 3], "at": pa.array([0, 1, 2], pa.timestamp("us"))})
    how = options(server, {"awsTempCredentials": dict(zip(
        ("accessKeyId", "secretAccessKey", "sessionToken"),
        (writing.access_key_id, writing.secret_access_key, writing.session_token),
    ))})
    deltalake.write_deltalake(f"s3://{writing.bucket}/{root}/zoneless", times, storage_options=how)

    cli("share", "create", "Newer", "--account", "acme")
    for name in ("vectors", "mapped", "zoneless"):
        cli("share", "table", "add", "Newer", f"main.{name}", f"s3://{writing.bucket}/{root}/{name}")
    cli("share", "grant", "Newer", "--to", "globex/recipient")


class TestNewerTables:
    @pytest.mark.parametrize("use_delta_format", [None, True])
    @pytest.mark.parametrize("name, numbers", [("vectors", [1, 2, 4, 5, 6, 7, 8]), ("mapped", list(range(10)))])
    def test_are_read_in_delta_format(self, newer, written, name, numbers, use_delta_format):
        frame = delta_sharing.load_as_pandas(f"{written}#Newer.main.{name}", use_delta_format=use_delta_format)
        assert sorted(frame["n"]) == numbers

    @pytest.mark.parametrize("use_delta_format", [None, True])
    def test_times_without_a_zone_are_read(self, newer, written, use_delta_format):
        frame = delta_sharing.load_as_pandas(f"{written}#Newer.main.zoneless", use_delta_format=use_delta_format)
        assert [str(at) for at in sorted(frame["at"])] == [f"1970-01-01 00:00:00{tail}" for tail in ("", ".000001", ".000002")]

    def test_times_without_a_zone_are_told_in_the_one_form_asked_for(self, newer, profile):
        for asked in ("parquet", "delta"):
            headers = {"delta-sharing-capabilities": f"responseformat={asked}"}
            told = ask(profile, "POST", "/shares/Newer/schemas/main/tables/zoneless/query", {}, **headers)
            assert (told.status_code, told.headers["delta-sharing-capabilities"]) == (200, f"responseformat={asked}")

    @pytest.mark.parametrize("name", ["vectors", "mapped"])
    def test_are_refused_to_who_reads_parquet_only(self, newer, profile, name):
        path = f"/shares/Newer/schemas/main/tables/{name}"
        for headers in ({}, {"delta-sharing-capabilities": "responseformat=parquet"}):
            for refused in (ask(profile, "GET", f"{path}/metadata", **headers), ask(profile, "POST", f"{path}/query", {}, **headers)):
                assert (refused.status_code, refused.json()["errorCode"]) == (400, "UNSUPPORTED_OPERATION")
