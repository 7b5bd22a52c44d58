"""Search in a room, for its hosts. A seat has no token of the messenger's, so whoever hosts asks
here, and is answered in the words of the room: who asked anonymously stays so."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from madang.model.identity import Identity
from madang.protocol.errors import Invalid
from madang.services.search import query as language
from madang.services.search.searching import Search
from madang.surfaces.live import frames
from madang.surfaces.live.rest import Hosting, as_host
from madang.surfaces.requests import JsonResponse
from madang.surfaces.search import Cursor, Few, Words, why


def add_search(routes: APIRouter, search: Search) -> None:
    """`/{code}/search`."""

    @routes.get("/{code}/search")
    async def search_room(
        caller: Hosting, q: Words, limit: Few = 20, cursor: Cursor = None
    ) -> JsonResponse:
        """The chat, questions and polls that answer `q`, best first (hosts)."""
        room, host = as_host(caller)
        if language.read(q, room.id).senders:
            # It would tell whose an anonymous question is.
            raise Invalid("q: from: cannot be asked for in a room")
        identity = Identity(host.participant_id, room.org_id, None, None, frozenset(), 0)
        page = await search.find(identity, q, conversation_id=room.id, limit=limit, cursor=cursor)
        results: list[dict[str, Any]] = []
        for result in page.results:
            told = frames.message_as_is(room, result.message, True)
            if told is not None:
                results.append({**told, "seq": result.message.seq, **why(result)})
        more = page.next is not None
        return JsonResponse({"results": results, "has_more": more, "next": page.next})
