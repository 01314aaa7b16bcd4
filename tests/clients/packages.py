"""One client of the Python package that reads until a deadline: `packages.py CLIENT SECONDS BUCKET KEY LIFE`. As renewing.py."""

import importlib
import sys
import time
from datetime import timedelta

from valetkey import Source


def main():
    name, seconds, bucket, key, life = sys.argv[1:]
    source = Source("flights-daily", ttl=timedelta(seconds=int(life)))
    tool = importlib.import_module(f"valetkey.{name.split('_')[0]}")
    if name == "boto3":
        s3 = tool.client(source)
        read = lambda: s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    elif name in ("obstore", "obstore_azure"):
        store = tool.store(source)
        read = lambda: store.get(key).bytes().to_bytes()
    elif name == "azure":
        from azure.storage.blob import BlobServiceClient

        blobs = BlobServiceClient(source.get().endpoint_url, credential=tool.SasCredential(source), retry_total=0)
        read = lambda: blobs.get_blob_client(bucket, key).download_blob().readall()
    elif name in ("polars", "polars_azure"):
        import polars

        options, scheme = tool.options(source), "s3" if name == "polars" else "az"
        read = lambda: polars.read_parquet(f"{scheme}://{bucket}/{key}", **options).height
    elif name == "duckdb":
        from importlib.resources import files

        import duckdb

        db = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
        db.execute(f"LOAD '{files('duckdb_extension_httpfs') / 'extensions' / f'v{duckdb.__version__}' / 'httpfs.duckdb_extension'}'")
        tool.secret(db, source)
        read = lambda: db.execute(f"SELECT count(*) FROM read_parquet('s3://{bucket}/{key}')").fetchone()[0]
    else:
        fs = tool.filesystem(source)
        read = lambda: fs.cat_file(f"{bucket}/{key}") if name == "s3fs" else fs.open_input_file(f"{bucket}/{key}").read()
    wanted, count, end = read(), 0, time.monotonic() + float(seconds)
    assert wanted
    while time.monotonic() < end:
        assert read() == wanted
        count += 1
        time.sleep(0.5)
    print(count)


if __name__ == "__main__":
    main()
