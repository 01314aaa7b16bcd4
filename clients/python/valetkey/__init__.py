"""Credentials of Valetkey that renew by themselves."""

from valetkey.source import Credential, Refused, Source, Unavailable

__all__ = ["Credential", "Refused", "Source", "Unavailable"]
