"""Iceberg's REST catalog: PyIceberg and DuckDB, unmodified, given only an address and a token; and what each is refused."""

import os
import subprocess

import boto3
import pyarrow as pa
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import BadRequestError, NoSuchTableError, OAuthError, RESTError, UnauthorizedError

# PyIceberg takes its signer out and puts it back whenever a thread opens a file: what others send in between is not signed.
os.environ["PYICEBERG_MAX_WORKERS"] = "1"

ROWS = pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"]})


@pytest.fixture(scope="module")
def writing(server):
    """Credentials of who may write `flights-lake`'s staging area."""
    return server.vend(server.caller("read-write", "flights-lake"))


@pytest.fixture(scope="module")
def cli(server):
    def cli(*words):
        environment = os.environ | {"VALETKEY_SERVER": server.api, "VALETKEY_TOKEN": server.admin_token}
        done = subprocess.run([os.environ["VALETKEY_BIN"], *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return cli


@pytest.fixture(scope="module")
def own(writing, tmp_path_factory):
    """The catalog that the table belongs to: it writes onto our endpoint."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('own')}/own.db"
    place = f"s3://{writing.bucket}/{writing.prefix}/iceberg"
    catalog = SqlCatalog(
        "own",
        **{
            "uri": uri,
            "warehouse": place,
            "s3.endpoint": writing.endpoint,
            "s3.region": writing.region,
            "s3.access-key-id": writing.access_key_id,
            "s3.secret-access-key": writing.secret_access_key,
            "s3.session-token": writing.session_token,
        },
    )
    catalog.create_namespace("ns")
    table = catalog.create_table("ns.trips", ROWS.schema, location=f"{place}/trips")
    table.append(ROWS)
    return table


@pytest.fixture(scope="module")
def shared(server, cli, own, writing):
    """The same table, shared with the demo's recipient."""
    cli("share", "create", "ice", "--account", "acme")
    cli("share", "table", "add", "ice", "ns.trips", own.location())
    cli("share", "grant", "ice", "--to", "globex/recipient")
    return server.ready["unity"]["token"]


def catalog(server, token, **more):
    return RestCatalog("ours", uri=f"{server.api}/iceberg", token=token, warehouse="ice", **more)


def keep(server, config):
    server.secrets |= {config["s3.secret-access-key"], config["s3.session-token"]}
    return config


def s3(server, config):
    keep(server, config)
    return boto3.client(
        "s3",
        endpoint_url=config["s3.endpoint"],
        region_name=config["s3.region"],
        aws_access_key_id=config["s3.access-key-id"],
        aws_secret_access_key=config["s3.secret-access-key"],
        aws_session_token=config["s3.session-token"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def code(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


def test_pyiceberg_finds_and_reads_what_was_written(server, shared, own):
    ours = catalog(server, shared)
    assert ours.list_namespaces() == [("ns",)] and ours.list_tables("ns") == [("ns", "trips")]
    assert ours.table_exists("ns.trips") and not ours.table_exists("ns.none")
    table = ours.load_table("ns.trips")
    keep(server, table.io.properties)
    assert table.metadata_location == own.metadata_location
    assert table.scan().to_arrow().sort_by("id").equals(ROWS.cast(table.scan().to_arrow().schema))
    own.append(ROWS)
    again = ours.load_table("ns.trips")
    keep(server, again.io.properties)
    assert again.scan().to_arrow().num_rows == 6


def test_the_demos_table_is_listed_alone_and_read(server):
    told = server.ready["iceberg"]
    theirs = RestCatalog("ours", uri=told["url"], token=told["token"], warehouse=told["warehouse"])
    assert theirs.list_tables("nyc") == [("nyc", "arrivals")] and told["table"] == "nyc.arrivals"
    table = theirs.load_table(told["table"])
    keep(server, table.io.properties)
    assert table.scan().to_arrow().num_rows == 842


def test_what_is_unchanged_is_not_sent_again(server, shared):
    url, headers = f"{server.api}/iceberg/v1/ice/namespaces/ns/tables/trips", {"Authorization": f"Bearer {shared}"}
    first = requests.get(url, headers=headers, timeout=30)
    config = keep(server, first.json()["config"])
    again = lambda: requests.get(url, headers=headers | {"If-None-Match": first.headers["etag"]}, timeout=30)
    assert (again().status_code, again().content) == (304, b"")
    lease = server.call("GET", f"/api/v1/whose/{config['s3.access-key-id']}", server.admin_token).json()["lease_id"]
    assert server.call("DELETE", f"/api/v1/leases/{lease}", server.admin_token).status == 200
    fresh = again()
    assert fresh.status_code == 200 and keep(server, fresh.json()["config"])["s3.access-key-id"] != config["s3.access-key-id"]


def test_a_credential_is_renewed_opens_the_table_and_ends(server, shared, own, writing):
    url = f"{server.api}/iceberg/v1/ice/namespaces/ns/tables/trips"
    headers = {"Authorization": f"Bearer {shared}"}
    config = requests.get(url, headers=headers, timeout=30).json()["config"]
    told = requests.get(f"{server.api}/iceberg/{config['client.refresh-credentials-endpoint']}", headers=headers, timeout=30)
    [one] = told.json()["storage-credentials"]
    assert one["prefix"] == own.location()
    renewed = s3(server, one["config"])
    metadata = own.metadata_location.split("/", 3)[3]
    for client in (s3(server, config), renewed):
        assert client.get_object(Bucket=writing.bucket, Key=metadata)["Body"].read()
        assert code(client.put_object, Bucket=writing.bucket, Key=metadata, Body=b"x") == "AccessDenied"
        beside = metadata.replace("/trips/", "/trips2/")
        assert code(client.get_object, Bucket=writing.bucket, Key=beside) == "AccessDenied"
    lease = server.call("GET", f"/api/v1/whose/{one['config']['s3.access-key-id']}", server.admin_token).json()["lease_id"]
    assert server.call("DELETE", f"/api/v1/leases/{lease}", server.admin_token).status == 200
    assert code(renewed.get_object, Bucket=writing.bucket, Key=metadata) == "ExpiredToken"


def test_what_is_not_given_or_not_taken_is_refused(server, shared):
    ours = catalog(server, shared)
    table = ours.load_table("ns.trips")
    keep(server, table.io.properties)
    with pytest.raises(NoSuchTableError):
        ours.load_table("ns.none")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        table.append(ROWS)
    with pytest.raises(NotImplementedError):
        ours.drop_table("ns.trips")
    dropped = requests.delete(
        f"{server.api}/iceberg/v1/ice/namespaces/ns/tables/trips", headers={"Authorization": f"Bearer {shared}"}, timeout=30
    )
    assert (dropped.status_code, dropped.json()["error"]["type"]) == (406, "UnsupportedOperationException")
    with pytest.raises(RESTError):
        catalog(server, server.caller("read", "airlines-lake").token)
    with pytest.raises(UnauthorizedError):
        catalog(server, "vkt_none")
    flights = RestCatalog("ours", uri=f"{server.api}/iceberg", token=shared, warehouse="flights")
    with pytest.raises(NoSuchTableError):
        flights.load_table("nyc.departures")
    with pytest.raises(BadRequestError):
        RestCatalog("ours", uri=f"{server.api}/iceberg", token=shared)


def test_duckdb_attaches_it(server, shared):
    import duckdb

    from importlib.resources import files

    off = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    db = duckdb.connect(config=off)
    for name in ("httpfs", "avro", "iceberg"):
        version = f"v{duckdb.__version__}"
        db.execute(f"LOAD '{files(f'duckdb_extension_{name}') / 'extensions' / version / f'{name}.duckdb_extension'}'")
    db.execute(f"CREATE SECRET own (TYPE iceberg, TOKEN '{shared}')")
    db.execute(f"ATTACH 'ice' AS ice (TYPE iceberg, SECRET own, ENDPOINT '{server.api}/iceberg')")
    assert db.execute("SELECT count(*) FROM ice.ns.trips").fetchone()[0] >= 3


class TestOauth:
    """PyIceberg with a `credential`, which it changes for a token at the catalog itself."""

    @pytest.fixture
    def made(self, server, shared):
        made = server.make("tokens", account="globex", caller="recipient")
        server.secrets.add(made["token"])
        return made

    def test_a_client_with_a_credential_reads_the_table(self, server, made):
        credential = f"{made['id']}:{made['token']}"
        ours = RestCatalog("ours", uri=f"{server.api}/iceberg", credential=credential, warehouse="ice")
        table = ours.load_table("ns.trips")
        keep(server, table.io.properties)
        assert table.scan().to_arrow().num_rows >= 3

    @pytest.mark.parametrize("wrong", ["id", "secret"])
    def test_a_wrong_one_is_refused(self, server, made, wrong):
        id, token = made["id"], made["token"]
        other = server.make("tokens", account="globex", caller="recipient")
        server.secrets.add(other["token"])
        credential = f"{other['id']}:{token}" if wrong == "id" else f"{id}:{token[:-1]}"
        with pytest.raises(OAuthError, match="invalid_client"):
            RestCatalog("ours", uri=f"{server.api}/iceberg", credential=credential, warehouse="ice")


class TestSigning:
    """PyIceberg's own signer: it holds no credential, and each request to the storage is signed by the catalog."""

    @pytest.fixture
    def signing(self, server, shared):
        delegation = {"header.X-Iceberg-Access-Delegation": "remote-signing"}
        how = {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO", "s3.signer": "S3V4RestSigner"}
        return catalog(server, shared, **delegation, **how)

    def sign(self, server, token, uri, method="GET", headers=None, path="ns/tables/trips"):
        asked = {"region": "auto", "method": method, "uri": uri, "headers": headers or {}}
        url = f"{server.api}/iceberg/v1/ice/namespaces/{path}/sign"
        answer = requests.post(url, json=asked, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        if answer.ok:
            server.secrets |= set(answer.json()["headers"]["x-amz-security-token"])
        return answer

    def send(self, answer, method="GET"):
        headers = {name: ", ".join(values) for name, values in answer.json()["headers"].items()}
        return requests.request(method, answer.json()["uri"], headers=headers, timeout=30)

    def leases(self, server):
        return server.call("GET", "/api/v1/leases?limit=500", server.admin_token).json()

    def test_pyiceberg_reads_without_a_credential_with_one_lease(self, server, signing, own):
        before = {one["lease_id"] for one in self.leases(server)["leases"]}
        table = signing.load_table("ns.trips")
        assert "s3.secret-access-key" not in table.io.properties and "s3.signer.uri" not in table.io.properties
        assert table.scan().to_arrow().num_rows == own.refresh().scan().to_arrow().num_rows
        assert table.scan().to_arrow().num_rows >= 3
        made = [one for one in self.leases(server)["leases"] if one["lease_id"] not in before]
        assert [one["dialect"] for one in made] == ["iceberg"]
        with pytest.raises(Exception, match="403"):
            table.append(ROWS)

    def test_what_is_signed_is_that_request_and_no_other(self, server, shared, own, writing):
        metadata = f"{writing.endpoint}/{own.metadata_location.removeprefix('s3://')}"
        answer = self.sign(server, shared, metadata)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "private")
        assert self.send(answer).status_code == 200
        assert self.send(answer, "PUT").status_code == self.send(answer, "DELETE").status_code == 403
        told = answer.json()
        for uri in (metadata + "x", metadata.replace("/trips/", "/trips2/"), metadata + "?acl"):
            answer.json = lambda uri=uri: told | {"uri": uri}
            assert self.send(answer).status_code == 403, uri
        head = self.sign(server, shared, metadata, "HEAD")
        assert self.send(head, "HEAD").status_code == 200
        place = own.location().removeprefix(f"s3://{writing.bucket}/")
        bucket = f"{writing.endpoint}/{writing.bucket}"
        listing = self.sign(server, shared, f"{bucket}?list-type=2&prefix={place}/metadata/")
        assert b"metadata.json" in self.send(listing).content

    def test_what_is_not_a_read_of_the_table_is_not_signed(self, server, shared, own, writing):
        metadata = f"{writing.endpoint}/{own.metadata_location.removeprefix('s3://')}"
        for method in ("PUT", "DELETE", "POST"):
            assert self.sign(server, shared, metadata, method).status_code == 403, method
        copy = {"x-amz-copy-source": [f"/{writing.bucket}/x"]}
        assert self.sign(server, shared, metadata, headers=copy).status_code == 403
        for uri in (
            metadata.replace("/trips/", "/trips2/"),
            metadata.replace("/trips/", "/trips/%2e%2e/trips2/"),
            metadata.replace("/trips/", "/trips/%252e%252e/trips2/"),
            metadata.replace(writing.bucket, "airlines-lake"),
            metadata.replace("127.0.0.1", "127.0.0.1@elsewhere.example"),
            f"{writing.endpoint}/{writing.bucket}?list-type=2",
            f"{writing.endpoint}/{writing.bucket}?delete",
        ):
            answer = self.sign(server, shared, uri)
            assert (answer.status_code, answer.json()["error"]["type"]) == (403, "ForbiddenException"), uri
        assert self.sign(server, server.caller("read", "airlines-lake").token, metadata).status_code == 404
        assert self.sign(server, "vkt_none", metadata).status_code == 401

    def test_a_signature_ends_with_its_lease(self, server, shared, own, writing):
        metadata = f"{writing.endpoint}/{own.metadata_location.removeprefix('s3://')}"
        answer = self.sign(server, shared, metadata)
        assert self.send(answer).status_code == 200
        [proof] = answer.json()["headers"]["authorization"]
        key = proof.split("Credential=")[1].split("/")[0]
        lease = server.call("GET", f"/api/v1/whose/{key}", server.admin_token).json()["lease_id"]
        assert server.call("DELETE", f"/api/v1/leases/{lease}", server.admin_token).status == 200
        ended = self.send(answer)
        assert ended.status_code == 400 and b"ExpiredToken" in ended.content
        again = self.sign(server, shared, metadata)
        assert self.send(again).status_code == 200
