import dataclasses
import io

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from contract import PART, Client, ListsByText, Refusal, Whole
from harness import FLIGHTS, demo_bytes


class Boto3(Client):
    denied = Refusal(ClientError, r"\((AccessDenied|403)\)")  # 403: the answer to HEAD has no body
    absent = Refusal(ClientError, r"\(NoSuchKey\)")
    expired = Refusal(ClientError, r"\(ExpiredToken\)")

    def __init__(self, lease, scratch):
        self.s3 = lease.boto3()

    def read(self, bucket, key):
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def read_range(self, bucket, key, start, length):
        return self.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + length - 1}")["Body"].read()

    def list(self, bucket, prefix):
        # Two at a time, so that the pages are walked as well.
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": 2}
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def write(self, bucket, key, data):
        self.s3.put_object(Bucket=bucket, Key=key, Body=data)

    def write_parts(self, bucket, key, data):
        config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
        try:
            self.s3.upload_fileobj(io.BytesIO(data), bucket, key, Config=config)
        except Exception as error:
            raise (error.__cause__ or error) from None  # the transfer manager wraps what the server said

    def copy(self, bucket, source, target):
        self.s3.copy_object(Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source})

    def delete(self, bucket, key):
        self.s3.delete_object(Bucket=bucket, Key=key)


class TestBoto3(Whole, ListsByText):
    client = Boto3

    def test_downloads_in_ranges(self, use, writing, folder):
        """The transfer manager: HEAD, then ranged reads in parallel."""
        client, data = use(writing), bytes(range(256)) * 4096 * 12
        client.write(writing.bucket, f"{folder}/large", data)
        got = io.BytesIO()
        client.s3.download_fileobj(
            writing.bucket,
            f"{folder}/large",
            got,
            Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART),
        )
        assert got.getvalue() == data

    def test_deletes_many(self, use, writing, folder, server):
        """One request may name keys inside and outside; each key is decided for itself."""
        client = use(writing)
        client.write(writing.bucket, f"{folder}/gone", b"x")
        outside = next(key for bucket, key in server.forbidden if bucket == writing.bucket)
        answer = client.s3.delete_objects(
            Bucket=writing.bucket, Delete={"Objects": [{"Key": f"{folder}/gone"}, {"Key": outside}]}
        )
        assert [entry["Key"] for entry in answer["Deleted"]] == [f"{folder}/gone"]
        assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [(outside, "AccessDenied")]
        assert writing.keys(f"{folder}/") == set()

    def test_abandons_an_upload(self, use, writing, folder):
        s3, at = use(writing).s3, {"Bucket": writing.bucket, "Key": f"{folder}/abandoned"}
        upload = s3.create_multipart_upload(**at)["UploadId"]
        s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"x")
        assert [part["Size"] for part in s3.list_parts(**at, UploadId=upload)["Parts"]] == [1]
        s3.abort_multipart_upload(**at, UploadId=upload)
        with pytest.raises(ClientError, match="NoSuchUpload"):
            s3.upload_part(**at, UploadId=upload, PartNumber=2, Body=b"x")
        assert writing.keys(f"{folder}/") == set()

    def test_learns_of_its_own_bucket_alone(self, use, reading):
        client = use(reading)
        assert [bucket["Name"] for bucket in client.s3.list_buckets()["Buckets"]] == [reading.bucket]
        for change in (client.s3.create_bucket, client.s3.delete_bucket):
            with pytest.raises(ClientError, match="NotImplemented|AccessDenied"):
                change(Bucket=reading.bucket)

    @pytest.mark.parametrize("region", ["auto", "us-east-1", "eu-central-1"])
    def test_takes_any_region(self, reading, region):
        s3 = dataclasses.replace(reading, region=region).boto3()
        assert s3.head_object(Bucket=reading.bucket, Key=FLIGHTS)["ContentLength"] == len(
            demo_bytes(reading.bucket, FLIGHTS)
        )
