"""Unity Catalog: deltalake, Polars, Databricks' SDK and the catalog's own client, unmodified, find a shared table by its name; and what each is refused."""

import json

import boto3
import polars as pl
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from deltalake import DeltaTable

ROWS = 3586
PATH = "/api/2.1/unity-catalog"


@pytest.fixture
def told(server):
    told = server.ready["unity"]
    server.secrets.add(told["token"])
    assert told["url"] == server.api and told["table"] == "flights.nyc.departures"
    return told


def ask(told, what, token=None, prefix=PATH, **body):
    headers = {"Authorization": f"Bearer {token or told['token']}"}
    return requests.post(f"{told['url']}{prefix}/temporary-{what}-credentials", json=body, headers=headers, timeout=30)


def get(told, path):
    return requests.get(told["url"] + PATH + path, headers={"Authorization": f"Bearer {told['token']}"}, timeout=30)


def s3(server, answer):
    keys = answer.json()["aws_temp_credentials"]
    server.secrets |= {keys["secret_access_key"], keys["session_token"]}
    return boto3.client(
        "s3",
        endpoint_url=server.s3,
        region_name="auto",
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
        aws_session_token=keys["session_token"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def code(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


def deltalake(server, answer):
    """deltalake with the keys and the place of an answer. Its own `uc://` hangs or aborts in most runs, with any server: it is not driven here."""
    keys = answer.json()["aws_temp_credentials"]
    how = {
        "aws_access_key_id": keys["access_key_id"],
        "aws_secret_access_key": keys["secret_access_key"],
        "aws_session_token": keys["session_token"],
        "aws_endpoint_url": server.s3,
        "aws_allow_http": "true",
        "aws_region": "auto",
    }
    server.secrets |= {keys["secret_access_key"], keys["session_token"]}
    return DeltaTable(answer.json()["url"], storage_options=how).to_pyarrow_table().num_rows


def test_deltalake_reads_a_table_by_its_name(server, told):
    table = get(told, f"/tables/{told['table']}").json()
    answer = ask(told, "table", table_id=table["table_id"], operation="READ")
    assert answer.status_code == 200 and answer.json()["url"] == table["storage_location"], answer.text
    assert deltalake(server, answer) == ROWS


def test_what_is_not_there_is_not_found_by_a_stranger_either(server, told):
    partner = server.caller("read", "airlines-lake")
    table = get(told, f"/tables/{told['table']}").json()
    assert get(told, "/tables/flights.nyc.none").status_code == 404
    assert [one["name"] for one in get(told | {"token": partner.token}, "/catalogs").json()["catalogs"]] == []
    assert get(told | {"token": partner.token}, f"/tables/{told['table']}").status_code == 404
    assert ask(told, "table", partner.token, table_id=table["table_id"], operation="READ").status_code == 404


def test_polars_lists_and_reads(server, told):
    catalog = pl.Catalog(told["url"], bearer_token=told["token"], require_https=False)
    assert "flights" in [one.name for one in catalog.list_catalogs()]
    assert [one.name for one in catalog.list_namespaces("flights")] == ["nyc"]
    assert [one.name for one in catalog.list_tables("flights", "nyc")] == ["departures"]
    columns = catalog.get_table_info("flights", "nyc", "departures").columns
    assert "origin" in [column.name for column in columns]
    how = {"aws_endpoint_url": server.s3, "aws_allow_http": "true", "aws_region": "auto"}
    frame = catalog.scan_table("flights", "nyc", "departures", storage_options=how)
    assert frame.select(pl.len()).collect().item() == ROWS


def test_a_credential_opens_its_table_until_it_is_revoked(server, told):
    id = get(told, f"/tables/{told['table']}").json()["table_id"]
    answer = ask(told, "table", table_id=id, operation="READ")
    assert answer.status_code == 200 and answer.json()["url"] == "s3://flights-lake/tables/flights", answer.text
    own, inside = s3(server, answer), "tables/flights/_delta_log/00000000000000000000.json"
    place = {"Bucket": "flights-lake", "Key": inside}
    assert own.get_object(**place)["Body"].read()
    for key in ("tables/flights2/x", "tables/flights-secret/x", "flights/daily/2013-01-01.parquet"):
        assert code(own.get_object, Bucket="flights-lake", Key=key) == "AccessDenied", key
    assert code(own.put_object, **place, Body=b"x") == "AccessDenied"
    write = ask(told, "table", table_id=id, operation="READ_WRITE")
    assert (write.status_code, write.json()["error_code"]) == (403, "PERMISSION_DENIED")
    old = ask(told, "table", prefix="/api/2.0/unity-catalog", table_id=id, operation="READ")
    assert old.status_code == 200
    s3(server, old)
    lease = server.call("GET", f"/api/v1/whose/{answer.json()['aws_temp_credentials']['access_key_id']}", server.admin_token)
    assert server.call("DELETE", f"/api/v1/leases/{lease.json()['lease_id']}", server.admin_token).status == 200
    assert code(own.get_object, **place) == "ExpiredToken"


def test_a_path_is_opened_as_it_was_granted(server, told):
    reader, writer = server.caller("read", "flights-lake"), server.caller("read-write", "flights-lake")
    url = f"s3://{writer.bucket}/{writer.prefix}/by-path"
    own = s3(server, ask(told, "path", writer.token, url=url, operation="PATH_READ_WRITE"))
    own.put_object(Bucket=writer.bucket, Key=f"{writer.prefix}/by-path/x", Body=b"x")
    assert code(own.put_object, Bucket=writer.bucket, Key=f"{writer.prefix}/by-path2/x", Body=b"x") == "AccessDenied"
    own.delete_object(Bucket=writer.bucket, Key=f"{writer.prefix}/by-path/x")
    reading = s3(server, ask(told, "path", writer.token, url=url, operation="PATH_READ"))
    assert code(reading.put_object, Bucket=writer.bucket, Key=f"{writer.prefix}/by-path/x", Body=b"x") == "AccessDenied"
    daily = f"s3://{reader.bucket}/{reader.prefix}"
    assert ask(told, "path", reader.token, url=daily, operation="PATH_READ").status_code == 200
    assert ask(told, "path", reader.token, url=daily, operation="PATH_READ_WRITE").status_code == 403
    assert ask(told, "path", reader.token, url=f"{daily}-secret", operation="PATH_READ").status_code == 403
    refused = ask(told, "path", url=f"s3://{reader.bucket}", operation="PATH_READ")
    assert json.loads(refused.text)["error_code"] == "INVALID_ARGUMENT"


class TestDatabricksSdk:
    """Databricks' SDK: it finds a table by its name, and asks for credentials below `/api/2.0`."""

    @pytest.fixture
    def workspace(self, server, told):
        from databricks.sdk import WorkspaceClient

        return WorkspaceClient(host=told["url"], token=told["token"], auth_type="pat")

    def test_it_lists_and_gets_credentials(self, server, told, workspace):
        from databricks.sdk.service.catalog import PathOperation, TableOperation

        assert "flights" in [one.name for one in workspace.catalogs.list()]
        assert [one.name for one in workspace.schemas.list(catalog_name="flights")] == ["nyc"]
        assert [one.full_name for one in workspace.tables.list("flights", "nyc")] == [told["table"]]
        table = workspace.tables.get(told["table"])
        given = workspace.temporary_table_credentials.generate_temporary_table_credentials(
            table_id=table.table_id, operation=TableOperation.READ
        )
        keys = given.aws_temp_credentials
        server.secrets |= {keys.secret_access_key, keys.session_token}
        assert given.url == table.storage_location and given.expiration_time
        reader = server.caller("read", "flights-lake")
        paths = type(workspace)(host=told["url"], token=reader.token, auth_type="pat").temporary_path_credentials
        given = paths.generate_temporary_path_credentials(url=f"s3://{reader.bucket}/{reader.prefix}", operation=PathOperation.PATH_READ)
        keys = given.aws_temp_credentials
        server.secrets |= {keys.secret_access_key, keys.session_token}

    def test_it_is_refused_in_words_it_knows(self, told, workspace):
        from databricks.sdk.errors import NotFound, PermissionDenied
        from databricks.sdk.service.catalog import TableOperation

        with pytest.raises(NotFound):
            workspace.tables.get("flights.nyc.none")
        table = workspace.tables.get(told["table"])
        with pytest.raises(PermissionDenied):
            workspace.temporary_table_credentials.generate_temporary_table_credentials(
                table_id=table.table_id, operation=TableOperation.READ_WRITE
            )


def test_the_catalogs_own_client_gets_credentials(server, told):
    """`unitycatalog-client`, which leaves the token to who uses it."""
    import asyncio

    from unitycatalog.client import (
        ApiClient,
        Configuration,
        GenerateTemporaryTableCredential,
        TableOperation,
        TablesApi,
        TemporaryCredentialsApi,
    )
    from unitycatalog.client.exceptions import ForbiddenException, NotFoundException

    async def drive():
        async with ApiClient(Configuration(host=told["url"] + PATH)) as client:
            client.set_default_header("Authorization", f"Bearer {told['token']}")
            tables, credentials = TablesApi(client), TemporaryCredentialsApi(client)
            listed = await tables.list_tables(catalog_name="flights", schema_name="nyc")
            assert [one.name for one in listed.tables] == ["departures"]
            table = await tables.get_table(full_name=told["table"])

            async def ask(operation):
                asked = GenerateTemporaryTableCredential(table_id=table.table_id, operation=operation)
                return await credentials.generate_temporary_table_credentials(asked)

            keys = (await ask(TableOperation.READ)).aws_temp_credentials
            server.secrets |= {keys.secret_access_key, keys.session_token}
            assert keys.access_key_id.startswith("VK")
            with pytest.raises(ForbiddenException):
                await ask(TableOperation.READ_WRITE)
            with pytest.raises(NotFoundException):
                await tables.get_table(full_name="flights.nyc.none")

    asyncio.run(drive())
