"""boto3 and botocore, renewed."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.session
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials

from valetkey.source import Credential, Source

# What a storage answers to a credential that it takes no longer; to HEAD it has no words.
ENDED = ("ExpiredToken", "InvalidToken", "400")


def s3(source: Source) -> Credential:
    """The credential, which has to be one of S3."""
    credential = source.get()
    if credential.type != "s3":
        raise TypeError(f"the storage gives a credential of type {credential.type!r}, which is not for S3")
    return credential


def frozen(source: Source) -> ReadOnlyCredentials:
    """As botocore signs with it."""
    credential = s3(source)
    return ReadOnlyCredentials(credential.access_key_id, credential.secret_access_key, credential.session_token)


class _Renewed(Credentials):  # type: ignore[misc]  # botocore has no types
    """Asks the source whenever something is signed: the source keeps what is fresh."""

    def __init__(self, source: Source) -> None:
        super().__init__("", "", "", method="valetkey")
        self._source = source

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return frozen(self._source)


class _Provider(CredentialProvider):  # type: ignore[misc]
    METHOD = "valetkey"

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    def load(self) -> Credentials:
        return _Renewed(self._source)


# Where a request keeps what it was signed with, until its answer is there.
SIGNED_WITH = "valetkey_session_token"


def renew_when_ended(session: botocore.session.Session, source: Source) -> None:
    """Makes the clients of a session ask for another credential when theirs was revoked.

    Of many requests under way with a revoked credential, each says only that this one is refused: one vend serves all of them. Nothing
    here waits, because in s3fs the loop that calls it is everybody's.
    """

    def note(request: Any, **_: Any) -> None:
        request.context[SIGNED_WITH] = request.headers.get("X-Amz-Security-Token", "")

    def renew(response: Any, attempts: int, request_dict: Any, **_: Any) -> int | None:
        code = response and response[1].get("Error", {}).get("Code")
        if attempts == 1 and code in ENDED:
            source.forget(request_dict["context"].get(SIGNED_WITH, ""))
            return 0
        return None

    # After the signer, which is called at the same event.
    session.get_component("event_emitter").register_last("request-created.s3", note)
    session.register("needs-retry.s3", renew)


def session(source: Source) -> boto3.Session:
    """A session whose clients renew."""
    inner = botocore.session.Session()
    inner.register_component("credential_provider", CredentialResolver([_Provider(source)]))
    renew_when_ended(inner, source)
    return boto3.Session(botocore_session=inner, region_name=s3(source).region)


def client(source: Source, service: str = "s3", **options: Any) -> Any:
    """A client that renews, at the storage's endpoint."""
    return session(source).client(service, **{"endpoint_url": s3(source).endpoint_url} | options)
