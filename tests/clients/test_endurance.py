"""What lasts: bodies that take their time, readers that read nothing, connections that say nothing."""

import contextlib

import pytest
from botocore.exceptions import ClientError

from harness import MIB
from wire import Call


def memory(server) -> int:
    """Bytes of memory that the server holds."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


class TestKeysThatEnd:
    def test_a_write_does_not_outlive_its_key(self, vend, writer, writing, folder):
        lease = vend(writer)
        body = b"x" * 1000
        connection = Call(lease, "PUT", f"{folder}/late", body=body).begin()
        with contextlib.closing(connection):
            connection.send(body[:500])
            lease.revoke()
            connection.send(body[500:])
            response = connection.getresponse()
            assert response.status == 400
            assert b"<Code>ExpiredToken</Code>" in response.read()
        assert writing.keys(f"{folder}/") == set()

    def test_nor_does_a_part(self, vend, writer, writing, folder):
        lease = vend(writer)
        s3, key = lease.boto3(), f"{folder}/parts"
        upload = s3.create_multipart_upload(Bucket=lease.bucket, Key=key)["UploadId"]
        body = b"x" * 1000
        query = {"partNumber": "1", "uploadId": upload}
        connection = Call(lease, "PUT", key, query=query, body=body).begin()
        with contextlib.closing(connection):
            connection.send(body[:500])
            lease.revoke()
            connection.send(body[500:])
            assert connection.getresponse().status == 400
        with pytest.raises(ClientError, match="ExpiredToken"):
            s3.complete_multipart_upload(Bucket=lease.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": []})
        assert writing.keys(f"{folder}/") == set()


class TestReadersThatReadNothing:
    def test_memory_stays_flat(self, server, writing, folder):
        key = f"{folder}/large"
        s3 = writing.boto3()
        s3.put_object(Bucket=writing.bucket, Key=key, Body=b"x" * (64 * MIB))
        before = memory(server)
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                connection = stack.enter_context(contextlib.closing(Call(writing, key=key).begin()))
                assert connection.getresponse().status == 200
            # While those stand still, another reads the whole of it: by then they would have been filled.
            read = sum(len(piece) for piece in s3.get_object(Bucket=writing.bucket, Key=key)["Body"].iter_chunks(MIB))
            assert read == 64 * MIB
            assert memory(server) - before < 64 * MIB
        s3.delete_object(Bucket=writing.bucket, Key=key)


class TestFiles:
    def test_are_their_owners_alone(self, server):
        for path in [server.data, *server.data.rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path
