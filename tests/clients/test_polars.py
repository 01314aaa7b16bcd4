import io

import polars as pl

from contract import Client, Ends, Reads, Refusal, Writes
from harness import demo_bytes, demo_keys


class Polars(Client):
    denied = Refusal(OSError, "AccessDenied|403 Forbidden")
    absent = Refusal(FileNotFoundError, "")
    expired = Refusal(OSError, "ExpiredToken")

    def __init__(self, lease, scratch):
        self.options = {
            "storage_options": {
                "aws_endpoint_url": lease.endpoint,
                "aws_region": lease.region,
                "aws_access_key_id": lease.access_key_id,
                "aws_secret_access_key": lease.secret_access_key,
                "aws_session_token": lease.session_token,
                "aws_allow_http": "true",
                "max_retries": 0,
            },
            "credential_provider": None,
        }

    @staticmethod
    def decode(data):
        return Frame(pl.read_parquet(io.BytesIO(data)))

    def scan(self, url):
        return pl.scan_parquet(url, **self.options)

    def read(self, bucket, key):
        return Frame(self.scan(f"s3://{bucket}/{key}").collect())

    def write(self, bucket, key, frame):
        frame.data.write_parquet(f"s3://{bucket}/{key}", **self.options)


class Frame:
    """Data frames compare by column; this one compares as a whole."""

    def __init__(self, data):
        self.data = data

    def __eq__(self, other):
        return self.data.equals(other.data)


class TestPolars(Reads, Writes, Ends):
    client = Polars

    def test_scans_a_folder(self, use, reading):
        frame = use(reading).scan(f"s3://{reading.bucket}/{reading.prefix}/*.parquet").collect()
        days = [
            pl.read_parquet(io.BytesIO(demo_bytes(reading.bucket, key)))
            for key in sorted(demo_keys(reading.bucket, reading.prefix))
        ]
        assert frame.equals(pl.concat(days))

    def test_reads_some_columns(self, use, reading):
        """Ranged reads: the footer by a suffix range, then column chunks."""
        query = use(reading).scan(f"s3://{reading.bucket}/{reading.prefix}/2013-01-01.parquet")
        assert query.filter(pl.col("origin") == "JFK").select("carrier", "dest").collect().shape == (297, 2)

    def test_scans_nothing_outside(self, use, reading):
        client = use(reading)
        for prefix in ("flights/daily-secret/", "flights/", ""):
            with client.denied():
                client.scan(f"s3://{reading.bucket}/{prefix}**/*.parquet").collect()
