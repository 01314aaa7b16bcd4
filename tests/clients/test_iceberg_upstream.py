"""A catalog that another product keeps, behind us: PyIceberg, unmodified, makes a table there, writes and reads it with our credentials."""

import os

import pyarrow as pa
import pytest
import requests
from catalog import OWN, TOKEN, Catalog
from harness import Server
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import ForbiddenError, RESTError, ServerError
from pyiceberg.types import LongType

ROWS = pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"]})
PLACE = "s3://flights-lake/flights/staging/house"


@pytest.fixture(scope="module")
def house():
    catalog = Catalog(PLACE)
    yield catalog
    catalog.stop()


@pytest.fixture(scope="module")
def server(house, tmp_path_factory):
    folder = tmp_path_factory.mktemp("upstream")
    token = folder / "catalog.token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    file = folder / "house.toml"
    file.write_text(f'name = "house"\naccount = "acme"\nuri = "{house.uri}"\nwarehouse = "prod"\ntoken_file = "{token}"\n')
    settings = {"VALETKEY_ICEBERG__UPSTREAMS": str(file)}
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("valetkey"), settings) as server:
        server.secrets |= {TOKEN, OWN}
        yield server
        assert server.leaks() == []


@pytest.fixture(scope="module")
def admin(server):
    """The token of an admin of the account: namespaces are made by one."""
    return server.make("tokens", account="acme", caller="boss", role="admin")["token"]


def client(server, token):
    return RestCatalog("ours", uri=f"{server.api}/iceberg", token=token, warehouse="house")


@pytest.fixture(scope="module")
def etl(server):
    return server.caller("read-write", "flights-lake").token


@pytest.fixture(scope="module")
def table(server, admin, etl):
    client(server, admin).create_namespace("db")
    table = client(server, etl).create_table("db.trips", ROWS.schema)
    table.append(ROWS)
    return table


def test_a_table_is_made_written_and_read_with_our_credentials(server, house, etl, table):
    again = client(server, etl).load_table("db.trips")
    assert again.location() == f"{PLACE}/db/trips"
    again.append(ROWS)
    again.refresh()
    assert again.scan().to_arrow().num_rows == 6
    with again.update_schema() as update:
        update.add_column("more", LongType())
    assert again.refresh().schema().find_field("more")
    properties = again.io.properties
    assert properties["s3.endpoint"].rstrip("/") == server.s3 and properties["s3.secret-access-key"] != OWN
    # The catalog was asked by us alone, and never for credentials.
    for _, path, headers in house.asked:
        own = {name.lower(): value for name, value in headers.items()}
        assert own["authorization"] == f"Bearer {TOKEN}" and "x-iceberg-access-delegation" not in own, path


def test_one_that_another_committed_first_is_refused_in_the_catalogs_words(server, house, etl, table):
    commit = {"identifier": {"namespace": ["db"], "name": "trips"}, "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 1}], "updates": []}
    url = f"{server.api}/iceberg/v1/~house/namespaces/db/tables/trips"
    answer = requests.post(url, json=commit, headers={"authorization": f"Bearer {etl}"}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "CommitFailedException"), answer.text


def test_who_may_not_write_reads_and_commits_nothing(server, house, table):
    server.make("grants", account="acme", name="house", to="analyst", bucket="flights-lake", access="read", prefixes=["flights/staging/house"])
    token = server.caller("read", "flights-lake").token
    own = client(server, token).load_table("db.trips")
    assert own.scan().to_arrow().num_rows >= 6
    before = len(house.tables[("db",), "trips"].snapshots)
    with pytest.raises(ForbiddenError):
        with own.transaction() as change:
            change.set_properties(owner="me")
    with pytest.raises(OSError):
        own.append(ROWS)
    for attempt in (lambda: client(server, token).drop_table("db.trips"), lambda: client(server, token).rename_table("db.trips", "db.mine")):
        with pytest.raises(ForbiddenError):
            attempt()
    with pytest.raises(RESTError):
        client(server, token).create_namespace("mine")
    assert len(house.tables[("db",), "trips"].snapshots) == before


def test_nobody_reaches_beside_the_table_or_from_another_account(server, house, etl, table):
    # The catalog says that a table lies where the caller was granted nothing.
    trips = house.tables[("db",), "trips"]
    house.tables[("db",), "beside"] = trips.model_copy(update={"location": "s3://flights-lake/flights/daily"})
    with pytest.raises(ForbiddenError):
        client(server, etl).load_table("db.beside")
    # A table cannot be moved there either.
    with pytest.raises(ForbiddenError):
        with client(server, etl).load_table("db.trips").transaction() as change:
            change.set_properties(**{"write.data.path": "s3://flights-lake/flights/daily"})
    partner = server.caller("read", "airlines-lake").token
    with pytest.raises(RESTError):
        client(server, partner)
    for path in ("namespaces", "namespaces/db/tables/trips", "namespaces/db/tables/trips/credentials"):
        answer = requests.get(f"{server.api}/iceberg/v1/~house/{path}", headers={"authorization": f"Bearer {partner}"}, timeout=30)
        assert answer.status_code == 404, answer.text


def test_a_catalog_that_is_away_is_said_to_be(server, house, etl, table):
    house.stop()
    house.server.server_close()
    answer = requests.get(f"{server.api}/iceberg/v1/~house/namespaces", headers={"authorization": f"Bearer {etl}"}, timeout=60)
    assert answer.status_code == 502 and answer.json()["error"]["type"] == "ServiceFailureException", answer.text
    with pytest.raises((RESTError, ServerError)):
        client(server, etl).load_table("db.trips")
