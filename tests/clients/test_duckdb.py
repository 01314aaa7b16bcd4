from importlib.resources import files

import duckdb
import pyarrow as pa
import pyarrow.parquet

from contract import Client, Ends, Reads, Refusal, Writes
from harness import demo_keys

# DuckDB fetches its extensions from its own site; the wheel brings the same signed file, to be loaded by path.
HTTPFS = files("duckdb_extension_httpfs") / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"


class DuckDB(Client):
    denied = Refusal(duckdb.HTTPException, "403")
    absent = Refusal(duckdb.HTTPException, "404")
    expired = Refusal(duckdb.HTTPException, "400|ExpiredToken")

    def __init__(self, lease, scratch):
        config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        self.db = duckdb.connect(config=config | {"extension_directory": str(scratch)})
        self.db.execute(f"LOAD '{HTTPFS}'")
        self.db.execute("SET http_retries = 0; SET TimeZone = 'UTC'")
        self.db.execute(
            f"""CREATE SECRET (TYPE s3, PROVIDER config, ENDPOINT '{lease.endpoint.removeprefix("http://")}',
                URL_STYLE 'path', USE_SSL false, REGION '{lease.region}', KEY_ID '{lease.access_key_id}',
                SECRET '{lease.secret_access_key}', SESSION_TOKEN '{lease.session_token}')"""
        )

    def close(self):
        self.db.close()

    @staticmethod
    def decode(data):
        return pyarrow.parquet.read_table(pa.BufferReader(data))

    def query(self, sql):
        return self.db.execute(sql).fetchall()

    def read(self, bucket, key):
        return self.db.execute(f"FROM read_parquet('s3://{bucket}/{key}')").to_arrow_table()

    def write(self, bucket, key, table):
        self.db.register("source", table)
        self.db.execute(f"COPY source TO 's3://{bucket}/{key}' (FORMAT parquet)")


class TestDuckDB(Reads, Writes, Ends):
    client = DuckDB

    def test_globs(self, use, reading):
        client = use(reading)
        found = client.query(f"SELECT file FROM glob('s3://{reading.bucket}/{reading.prefix}/*.parquet')")
        expected = {f"s3://{reading.bucket}/{key}" for key in demo_keys(reading.bucket, reading.prefix)}
        assert {file for (file,) in found} == expected

    def test_aggregates_over_files(self, use, reading):
        counts = use(reading).query(
            f"SELECT day, count(*) FROM 's3://{reading.bucket}/{reading.prefix}/*.parquet' GROUP BY ALL ORDER BY day"
        )
        assert counts == [(1, 842), (2, 943), (3, 914), (4, 915), (5, 720)]

    def test_globs_nothing_outside(self, use, reading):
        client = use(reading)
        for pattern in ("flights/daily-secret/*", "flights/*/*.parquet", "**"):
            with client.denied():
                client.query(f"FROM glob('s3://{reading.bucket}/{pattern}')")
