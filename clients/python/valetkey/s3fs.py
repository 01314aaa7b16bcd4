"""s3fs, and with it fsspec and pandas, renewed."""

from __future__ import annotations

import asyncio
from typing import Any

import s3fs
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials

from valetkey.boto3 import frozen, renew_when_ended, s3
from valetkey.source import Source


class _Renewed(AioCredentials):  # type: ignore[misc]  # aiobotocore has no types
    def __init__(self, source: Source) -> None:
        super().__init__("", "", "", method="valetkey")
        self._source = source

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        # A vend may take seconds; the loop is everybody's.
        return await asyncio.to_thread(frozen, self._source)


class _Resolver:
    def __init__(self, source: Source) -> None:
        self._source = source

    async def load_credentials(self) -> AioCredentials:
        return _Renewed(self._source)


def filesystem(source: Source, **options: Any) -> s3fs.S3FileSystem:
    """A file system that renews, at the storage's endpoint."""
    credential = s3(source)
    session = AioSession()
    session.register_component("credential_provider", _Resolver(source))
    renew_when_ended(session, source)
    client = {"endpoint_url": credential.endpoint_url, "region_name": credential.region} | options.pop("client_kwargs", {})
    # Of two sources with the same options, each has its own.
    return s3fs.S3FileSystem(session=session, client_kwargs=client, skip_instance_cache=True, **options)
