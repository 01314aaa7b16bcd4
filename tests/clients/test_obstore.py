import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from contract import PART, Client, ListsByText, Refusal, Whole


class Obstore(Client):
    denied = Refusal(BaseError, "AccessDenied")
    absent = Refusal(FileNotFoundError, "NoSuchKey")
    expired = Refusal(BaseError, "ExpiredToken")

    def store(self, bucket):
        return S3Store(
            bucket,
            endpoint=self.lease.endpoint,
            region=self.lease.region,
            access_key_id=self.lease.access_key_id,
            secret_access_key=self.lease.secret_access_key,
            session_token=self.lease.session_token,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )

    def read(self, bucket, key):
        return bytes(obstore.get(self.store(bucket), key).bytes())

    def read_range(self, bucket, key, start, length):
        return bytes(obstore.get_range(self.store(bucket), key, start=start, length=length))

    def list(self, bucket, prefix):
        return [entry["path"] for chunk in obstore.list(self.store(bucket), prefix) for entry in chunk]

    def write(self, bucket, key, data):
        obstore.put(self.store(bucket), key, data, use_multipart=False)

    def write_parts(self, bucket, key, data):
        obstore.put(self.store(bucket), key, data, use_multipart=True, chunk_size=PART)

    def copy(self, bucket, source, target):
        obstore.copy(self.store(bucket), source, target)

    def delete(self, bucket, key):
        obstore.delete(self.store(bucket), key)


class TestObstore(Whole, ListsByText):
    client = Obstore

    def test_creates_once(self, use, writing, folder):
        """What delta-rs builds its commits on: If-None-Match: *"""
        store, key = use(writing).store(writing.bucket), f"{folder}/once"
        obstore.put(store, key, b"first", mode="create")
        with pytest.raises(AlreadyExistsError):
            obstore.put(store, key, b"second", mode="create")
        assert writing.get(key) == b"first"

    def test_updates_what_it_read(self, use, writing, folder):
        """If-Match with the entity tag of the last write."""
        store, key = use(writing).store(writing.bucket), f"{folder}/updated"
        first = obstore.put(store, key, b"first")
        version = {name: value for name, value in first.items() if value}
        obstore.put(store, key, b"second", mode=version)
        with pytest.raises(BaseError, match=r"412|Precondition"):
            obstore.put(store, key, b"third", mode=version)
        assert writing.get(key) == b"second"
