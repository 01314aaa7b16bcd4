"""Callers of accounts of their own, and what they ask for."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from harness import Caller, Lease, Server

_numbers = itertools.count()


@dataclass(frozen=True)
class Holder:
    """A caller of an account of its own, and what it asks for."""

    server: Server
    account: str
    name: str
    token: str

    def grant(self, bucket: str, **fields) -> dict:
        who = {"account": self.account, "to": self.name}
        return self.server.make("grants", name=f"grant-{next(_numbers)}", bucket=bucket, **who, **fields)

    def ask(self, **fields):
        """What the native API says to it."""
        return self.server.call("POST", "/api/v1/credentials", self.token, {"ttl_secs": 900} | fields)

    def vend(self, bucket: str, **fields) -> Lease:
        at = Caller(self.name, self.account, self.token, fields.pop("access", None), bucket, fields.pop("prefix", None))
        return self.server.vend(at, **fields)


def holders(server: Server) -> Callable[..., Holder]:
    """Makes callers, each in a new account if none is named."""

    def make(account: str | None = None) -> Holder:
        number = next(_numbers)
        if account is None:
            account = server.make("accounts", name=f"account-{number}")["name"]
        made = server.make("tokens", account=account, caller=f"caller-{number}")
        server.secrets.add(made["token"])
        return Holder(server, account, f"caller-{number}", made["token"])

    return make
