"""Polars, renewed."""

from __future__ import annotations

from typing import Any

from valetkey.source import Source


class CredentialProvider:
    """What `scan_parquet(credential_provider=…)` and its like take."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self) -> tuple[dict[str, str], int | None]:
        credential = self._source.get()
        if credential.type == "azure":
            keys = {"sas_token": credential.sas_token}
        elif credential.type == "google":
            keys = {"bearer_token": credential.access_token}
        else:
            keys = {
                "aws_access_key_id": credential.access_key_id,
                "aws_secret_access_key": credential.secret_access_key,
                "aws_session_token": credential.session_token,
            }
        return keys, int(credential.expiration.timestamp())


def options(source: Source) -> dict[str, Any]:
    """The arguments of `scan_parquet`, `read_parquet` and their like that make them renew."""
    credential = source.get()
    storage = {}
    if credential.type == "s3":
        storage = {"aws_endpoint_url": credential.endpoint_url, "aws_region": credential.region}
    elif credential.type == "azure":
        storage = {"azure_storage_account_name": credential.account, "azure_storage_endpoint": credential.endpoint_url}
    if storage and credential.allow_http:
        storage["allow_http"] = "true"
    return {"credential_provider": CredentialProvider(source), "storage_options": storage}
