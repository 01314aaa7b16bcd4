"""One client that reads until a deadline, in an environment that `valetkey exec` made: `renewing.py CLIENT SECONDS BUCKET KEY`.

The client is made once, and is never told of a credential. Prints how often it read; ends with an error at the first read that failed.
"""

import os
import subprocess
import sys
import time


def boto3():
    import boto3

    s3 = boto3.client("s3")
    return lambda bucket, key: s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def command(*line):
    return lambda bucket, key: subprocess.run(
        [part.format(bucket=bucket, key=key) for part in line], check=True, capture_output=True
    ).stdout


def awscli():
    return command("aws", "s3", "cp", "--quiet", "s3://{bucket}/{key}", "-")


def awscli2():
    return command("/usr/bin/aws", "--endpoint-url", os.environ["AWS_ENDPOINT_URL_S3"], "s3", "cp", "--quiet", "s3://{bucket}/{key}", "-")


def rclone():
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    remote = f":s3,provider=Other,env_auth,force_path_style,endpoint='{endpoint}':"
    return command("rclone", "cat", remote + "{bucket}/{key}", "--config", os.devnull)


def s3fs():
    import s3fs

    fs = s3fs.S3FileSystem(use_listings_cache=False)
    return lambda bucket, key: fs.cat_file(f"{bucket}/{key}")


def obstore():
    from obstore.store import S3Store

    stores = {}
    return lambda bucket, key: stores.setdefault(bucket, S3Store(bucket)).get(key).bytes().to_bytes()


def polars():
    import polars

    def read(bucket, key):
        assert polars.read_parquet(f"s3://{bucket}/{key}").height > 0

    return read


def pyarrow():
    from pyarrow import fs

    s3, _ = fs.FileSystem.from_uri("s3://flights-lake")
    return lambda bucket, key: s3.open_input_file(f"{bucket}/{key}").read()


def duckdb():
    from importlib.resources import files

    import duckdb

    db = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for name in ("httpfs", "aws"):
        db.execute(f"LOAD '{files(f'duckdb_extension_{name}') / 'extensions' / f'v{duckdb.__version__}' / f'{name}.duckdb_extension'}'")
    host = os.environ["AWS_ENDPOINT_URL_S3"].removeprefix("http://")
    db.execute(
        f"CREATE SECRET (TYPE s3, PROVIDER credential_chain, REFRESH auto, ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false)"
    )

    def read(bucket, key):
        [(count,)] = db.execute(f"SELECT count(*) FROM read_parquet('s3://{bucket}/{key}')").fetchall()
        assert count > 0

    return read


def google():
    import google.auth
    from google.api_core.client_options import ClientOptions
    from google.cloud import storage

    credentials, _ = google.auth.default()
    gcs = storage.Client(credentials=credentials, client_options=ClientOptions(api_endpoint=os.environ["FAKE_GCS"]))
    return lambda bucket, key: gcs.bucket(bucket).blob(key).download_as_bytes()


def obstore_google():
    from obstore.store import GCSStore

    store = GCSStore("lake", base_url=os.environ["FAKE_GCS"], client_options={"allow_http": True})
    return lambda bucket, key: store.get(key).bytes().to_bytes()


def rclone_google():
    # Debian's takes Google's usual credentials where a remote has none of its own.
    remote = f":gcs,bucket_policy_only,endpoint='{os.environ['FAKE_GCS']}':"
    return command("rclone", "cat", remote + "{bucket}/{key}", "--config", os.devnull)


def main():
    name, seconds, bucket, key = sys.argv[1:]
    read = globals()[name]()
    wanted, count, end = None, 0, time.monotonic() + float(seconds)
    while time.monotonic() < end:
        data = read(bucket, key)
        wanted = wanted or data
        assert data == wanted and (data is None or len(data) > 0)
        count += 1
        # A pace, so that many of these share a machine; what is awaited is the deadline.
        time.sleep(0.5)
    print(count)


if __name__ == "__main__":
    main()
