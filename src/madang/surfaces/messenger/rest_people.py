"""Who is here, and how much goes on: the messenger's routes about people instead of what they
say."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from madang.clock import Clock
from madang.delivery.presence import Presence
from madang.model.identity import Identity
from madang.model.ids import wire_user_id
from madang.model.times import iso
from madang.ports.store import Store
from madang.protocol.errors import Invalid
from madang.surfaces.requests import Caller, JsonResponse, needs_role

ACTIVE_MICROSECONDS = 24 * 3600 * 1_000_000
"""A conversation counts as active for a day after something was said in it."""
MOST_PRESENCES = 1000


def add_people(routes: APIRouter, store: Store, presence: Presence, clock: Clock) -> None:
    """Add the routes about people and the numbers of the org."""

    async def told(caller: Identity, user_ids: list[str]) -> Any:
        stored = await store.last_seen(caller.org, user_ids)
        present = await presence.present(caller.org, user_ids)
        users = []
        for user_id in user_ids:
            lease = present.get(user_id)
            status, devices = (lease.status, lease.devices) if lease else ("offline", 0)
            seen = presence.seen_at(caller.org, user_id) or stored.get(user_id)
            if devices:
                seen = clock.now()
            users.append(
                {
                    "user_id": wire_user_id(user_id),
                    "status": status,
                    "last_seen": None if seen is None else iso(seen),
                    "devices": devices,
                }
            )
        return JsonResponse({"users": users, "has_more": False, "next": None})

    async def seen_by(caller: Identity) -> set[str] | None:
        """Whom the caller may see; None is everybody."""
        if "admin" in caller.roles:
            return None
        return {*await store.contacts(caller.org, caller.user_id), caller.user_id}

    @routes.get("/presence")
    async def get_presence(caller: Caller, user_ids: str) -> Any:
        """The presence of users (separated by commas) who share a conversation with me; the
        others are left out, as are those who do not exist."""
        asked = list(dict.fromkeys(user for user in user_ids.split(",") if user))
        if len(asked) > MOST_PRESENCES:
            raise Invalid(f"user_ids: at most {MOST_PRESENCES}")
        allowed = await seen_by(caller)
        return await told(caller, [u for u in asked if allowed is None or u in allowed])

    @routes.get("/presence/online")
    async def get_online(caller: Caller, zone: str | None = None) -> Any:
        """Who of those who share a conversation with me is here, of a zone if one is named."""
        allowed = await seen_by(caller)
        if allowed is None:
            present = await presence.online(caller.org)
        else:
            present = await presence.present(caller.org, sorted(allowed))
        online = [
            user_id
            for user_id, lease in present.items()
            if lease.devices and (zone is None or zone in lease.zones)
        ]
        return await told(caller, sorted(online))

    @routes.get("/stats")
    async def stats(caller: Caller) -> Any:
        """Numbers of the org, on all nodes (admins)."""
        needs_role(caller, "admin")
        counts = await store.counts(caller.org, clock.now() - ACTIVE_MICROSECONDS)
        leases = [lease for lease in (await presence.online(caller.org)).values() if lease.devices]
        return JsonResponse(
            {
                **counts,
                "online_users": len(leases),
                "total_connections": sum(lease.devices for lease in leases),
            }
        )
