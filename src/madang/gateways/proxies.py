"""Where a client is when a proxy stands between: what `X-Forwarded-For` says, as far back as it was
written by somebody who is trusted. HTTP requests are uvicorn's affair, which goes by the same
addresses; this is for WebSockets."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence


class Proxies:
    """The proxies that are trusted.

    Args:
        trusted: addresses or networks; `*` trusts everybody.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._everybody = "*" in trusted
        self._networks = [
            ipaddress.ip_network(each, strict=False) for each in trusted if _is_network(each)
        ]

    def client_of(self, peer: str | None, headers: Mapping[str, str]) -> str | None:
        """The client's address: of those that the request came through, the last one that is no
        trusted proxy."""
        if peer is None or not self._trusts(peer):
            return peer
        found = peer
        for address in reversed(headers.get("x-forwarded-for", "").split(",")):
            if address.strip():
                found = _without_port(address.strip())
                if not self._trusts(found):
                    break
        return found

    def _trusts(self, address: str) -> bool:
        if self._everybody:
            return True
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(known in network for network in self._networks)


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
