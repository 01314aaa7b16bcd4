"""obstore, renewed: S3, Azure and Google."""

from __future__ import annotations

from typing import Any

from obstore.store import AzureStore, GCSStore, S3Store

from valetkey.source import Source


class Provider:
    """A credential provider for whichever store the storage is."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self) -> Any:
        credential = self._source.get()
        expires = {"expires_at": credential.expiration}
        if credential.type == "azure":
            return {"sas_token": credential.sas_token} | expires
        if credential.type == "google":
            return {"token": credential.access_token} | expires
        return {
            "access_key_id": credential.access_key_id,
            "secret_access_key": credential.secret_access_key,
            "token": credential.session_token,
        } | expires


def store(source: Source, **options: Any) -> S3Store | AzureStore | GCSStore:
    """A store that renews, of the credential's bucket."""
    credential = source.get()
    http = {"client_options": {"allow_http": True}} if credential.allow_http else {}
    provider: Any = Provider(source)
    options = http | options
    if credential.type == "azure":
        return AzureStore(
            credential.bucket, account_name=credential.account, endpoint=credential.endpoint_url, credential_provider=provider, **options
        )
    if credential.type == "google":
        return GCSStore(credential.bucket, credential_provider=provider, **options)
    return S3Store(
        credential.bucket, endpoint=credential.endpoint_url, region=credential.region, credential_provider=provider, **options
    )
