"""That all nodes on a bus believe the same tokens: people would be let in by chance otherwise."""

from __future__ import annotations

from madang import logs
from madang.clock import Clock
from madang.ports.bus import Bus
from madang.protocol.errors import Unavailable
from madang.services.auth import TokenVerifier
from madang.services.trust import fingerprint
from madang.settings import Settings

log = logs.get_logger(__name__)

KEYS_SECONDS = 15.0
"""How long after its last word a node's keys bind the others: a secret is changed by stopping all
nodes for so long."""
OTHER_KEYS = (
    "The nodes that run on this bus believe other tokens: give this one the same JWT_SECRET_KEY, "
    "MADANG_JWT_PUBLIC_KEY, MADANG_JWKS_URL, audience, issuer and JWT_ALGORITHM as theirs, or "
    "stop them all first"
)


async def agree(verifier: TokenVerifier, settings: Settings, bus: Bus) -> None:
    """Say what this node believes.

    Raises:
        Unavailable: the others believe something else.
    """
    if not await bus.agree("keys", fingerprint(verifier, settings), KEYS_SECONDS):
        raise Unavailable(OTHER_KEYS)


async def keep_agreeing(
    verifier: TokenVerifier, settings: Settings, bus: Bus, clock: Clock
) -> None:
    """Say it again and again, so that whoever comes later hears it."""
    while True:
        await clock.sleep(KEYS_SECONDS / 3)
        try:
            await agree(verifier, settings, bus)
        except Unavailable as error:
            log.warning("not agreed with the other nodes", why=error.text)
        except Exception:
            log.exception("not asked whether the other nodes agree")
