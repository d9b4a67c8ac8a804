"""Who may read and who may ask for something: names of this host, the token, and where a request comes from."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Say whether a server at this address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def name_in(host: str) -> str | None:
    """The name in a Host header such as `localhost:8000` or `[::1]:8000`; None if it is no such thing."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if host.isascii() and not set(host) & set(" @/?#\\") else None


@dataclass(frozen=True)
class Door:
    """Decides about one request from its headers.

    A page of another site can send requests here, and by DNS rebinding can even make its own name mean this machine; it cannot choose the
    Host and Origin headers that the browser sends, and it cannot read the token.

    Attributes:
        wide: reached from other machines, so that reading needs the token too.
        names: hosts beside the loopback's that requests may be for.
        token: what a page sends back with everything that changes something.
    """

    wide: bool
    names: frozenset[str] = frozenset()
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def at(cls, host: str, others: Iterable[str] = ()) -> Door:
        """The door of a server that listens at `host`; with `others` it is meant to be behind a proxy of such names."""
        names = {name.lower() for name in others}
        wide = bool(names) or not is_loopback(host)
        own = {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()} if not is_loopback(host) else set()
        return cls(wide, frozenset(names | own))

    def knows(self, host: str | None) -> bool:
        """Say whether a Host header names this machine. Numbers are fine where a token is needed: they cannot be rebound."""
        name = name_in(host or "")
        if name is None:
            return False
        if name in LOOPBACK or name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.wide or address.is_loopback

    def may_read(self, given: str | None, cookies: str | None, cookie: str) -> bool:
        """Say whether the token is in the address or in the cookie of that name, or is not needed."""
        return not self.wide or self.has_token(given) or self.has_token(_cookie(cookies, cookie))

    def has_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def may_write(self, headers: Mapping[str, str]) -> str | None:
        """Return why a request that changes something is refused, or None if it may pass. `headers` has names as browsers send them."""
        if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return "it comes from another site"
        origin = headers.get("Origin")
        if origin is not None and not self._is_own(origin, headers.get("Host", "")):
            return "its origin is another site"
        if not self.has_token(headers.get("X-Growreel-Token")):
            return "it lacks the token of the page"
        if headers.get("Content-Type", "").split(";")[0].strip() != "application/json":
            return "its body is not JSON"
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            return parts.scheme in ("http", "https") and (parts.netloc.lower() == host.lower() or parts.hostname in self.names)
        except ValueError:
            return False


def _cookie(header: str | None, name: str) -> str | None:
    try:
        found = SimpleCookie(header or "").get(name)
    except CookieError:
        return None
    return None if found is None else found.value
