"""Azure's own libraries (azure-storage-blob, adlfs), renewed: they read a signature for each request."""

from __future__ import annotations

from azure.core.credentials import AzureSasCredential

from valetkey.source import Credential, Source


def sas(source: Source) -> Credential:
    """The credential, which has to be one of Azure."""
    credential = source.get()
    if credential.type != "azure":
        raise TypeError(f"the storage gives a credential of type {credential.type!r}, which is not for Azure")
    return credential


class SasCredential(AzureSasCredential):
    """What clients take as `credential`: a shared access signature that is always a fresh one."""

    def __init__(self, source: Source) -> None:
        super().__init__(sas(source).sas_token)
        self._source = source

    @property
    def signature(self) -> str:
        return sas(self._source).sas_token
