"""Who a request comes from: API tokens, tickets with CSRF tokens, passwords."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import unquote

from localai_deploy.sandbox.answers import ApiError, unauthorized
from localai_deploy.sandbox.state import Cluster

TICKET_LIFE_S = 7200


@dataclass(frozen=True)
class Identity:
    """A caller; `name` is `user@realm` or `user@realm!token`."""

    name: str

    @property
    def user(self) -> str:
        """The user, a token's name cut off."""
        return self.name.partition("!")[0]

    @property
    def token(self) -> str | None:
        """The token's name; None for a login by password."""
        return self.name.partition("!")[2] or None

    @property
    def is_root(self) -> bool:
        """Root's own login by password; no token is ever root."""
        return self.name == "root@pam"


@dataclass
class Authentication:
    """Checks credentials against the users of a cluster; its secret is made anew at each start."""

    cluster: Cluster
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def ticket(self, user: str) -> str:
        """A ticket for a user, valid for two hours."""
        return self._sealed("PVE", user)

    def csrf_token(self, user: str) -> str:
        """The token that changing calls of a ticket's owner must carry."""
        stamp = f"{int(time.time()):08X}"
        return f"{stamp}:{self._seal(f'{stamp}:{user}')}"

    def _sealed(self, kind: str, user: str) -> str:
        text = f"{kind}:{user}:{int(time.time()):08X}"
        return f"{text}::{self._seal(text)}"

    def _seal(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), "sha256").hexdigest()

    def identify(self, headers: dict[str, str], method: str) -> Identity:
        """The caller of a request; raises the 401. Header names are lower case."""
        authorization = headers.get("authorization", "")
        if authorization.startswith("PVEAPIToken="):
            return self._by_token(authorization.removeprefix("PVEAPIToken="))
        cookie: SimpleCookie = SimpleCookie()
        cookie.load(headers.get("cookie", ""))
        if "PVEAuthCookie" not in cookie:
            raise unauthorized("No ticket")
        identity = self._by_ticket(unquote(cookie["PVEAuthCookie"].value))
        if method != "GET" and not self._csrf_fits(headers.get("csrfpreventiontoken", ""), identity.user):
            raise unauthorized("Permission denied - invalid csrf token")
        return identity

    def _refused(self, old_text: str) -> ApiError:
        return unauthorized(old_text if self.cluster.release.major < 8 else "Authentication failed!")

    def _by_token(self, given: str) -> Identity:
        name, _, secret = given.partition("=")
        identity = Identity(name)
        user = self.cluster.users.get(identity.user)
        token = user.tokens.get(identity.token or "") if user else None
        if user is None or token is None or not hmac.compare_digest(token.secret, secret):
            raise self._refused("invalid token value!")
        if not user.enable or 0 < token.expire <= time.time():
            raise self._refused("token expired")
        return identity

    def _by_ticket(self, ticket: str) -> Identity:
        text, _, seal = ticket.rpartition("::")
        parts = text.split(":")
        if len(parts) != 3 or not hmac.compare_digest(self._seal(text), seal):
            raise self._refused("permission denied - invalid PVE ticket")
        if parts[1] not in self.cluster.users or int(parts[2], 16) + TICKET_LIFE_S < time.time():
            raise self._refused("permission denied - invalid PVE ticket")
        return Identity(parts[1])

    def _csrf_fits(self, given: str, user: str) -> bool:
        stamp, _, seal = given.partition(":")
        return hmac.compare_digest(self._seal(f"{stamp}:{user}"), seal)

    def log_in(self, username: str, password: str) -> str:
        """The user's id when the password (or a valid ticket in its place) fits; raises the 401."""
        user = self.cluster.users.get(username)
        if user is not None and user.enable:
            if user.password is not None and hmac.compare_digest(user.password, password):
                return username
            if password.startswith("PVE:") and self._by_ticket(password).name == username:
                return username
        raise unauthorized("authentication failure", bare=False)
