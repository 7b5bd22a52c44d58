"""Search over REST, the same for people's conversations and for sessions with agents."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from madang.model.ids import parse_uuid, wire_user_id
from madang.protocol.errors import NotAParticipant, NotFound, invalid_id
from madang.services.search.query import MAX_QUERY
from madang.services.search.searching import Result, ResultPage, Search
from madang.surfaces import objects
from madang.surfaces.requests import Caller, JsonResponse, JsonRoute

Words = Annotated[str, Query(min_length=1, max_length=MAX_QUERY, description="What to look for.")]
Where = Annotated[str | None, Query(max_length=36)]
Few = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=200, description="The `next` of a page.")]


def router(search: Search) -> APIRouter:
    """`GET /api/v1/messenger/search` and `GET /api/chat/search`."""
    routes = APIRouter(route_class=JsonRoute, default_response_class=JsonResponse)

    @routes.get("/api/v1/messenger/search", tags=["messenger"])
    async def search_messages(
        caller: Caller,
        q: Words,
        conversation_id: Where = None,
        limit: Few = 20,
        cursor: Cursor = None,
    ) -> Any:
        """Messages I may see that answer `q`, best first; in one conversation, if it is named."""
        where = _where("conversation_id", conversation_id)
        found = await search.find(caller, q, conversation_id=where, limit=limit, cursor=cursor)
        return JsonResponse(results(found))

    @routes.get("/api/chat/search", tags=["agents"])
    async def search_sessions(
        caller: Caller,
        q: Words,
        session_id: Where = None,
        limit: Few = 20,
        cursor: Cursor = None,
    ) -> Any:
        """The same; in one session, if it is named."""
        where = _where("session_id", session_id)
        try:
            found = await search.find(caller, q, conversation_id=where, limit=limit, cursor=cursor)
        except NotAParticipant:
            raise NotFound("Session not found") from None
        return JsonResponse(results(found, str))

    return routes


def _where(name: str, text: str | None) -> str | None:
    """The id of a conversation, by the name that it has here. Raises `InvalidId`."""
    if text is None:
        return None
    found = parse_uuid(text)
    if found is None:
        raise invalid_id(name)
    return found


def results(page: ResultPage, write_id: objects.WriteId = wire_user_id) -> dict[str, Any]:
    """A page of answers: each a MESSAGE with what makes it one."""
    return {
        "results": [
            {
                **objects.message(result.message, write_id),
                "message_id": result.message.id,
                "session_id": result.message.conversation_id,
                **why(result),
            }
            for result in page.results
        ],
        "has_more": page.next is not None,
        "next": page.next,
    }


def why(result: Result) -> dict[str, Any]:
    """What makes a message an answer."""
    return {
        "relevance": round(result.relevance, 4),
        "highlights": [
            {
                "field": each.field,
                "text": each.text,
                "ranges": each.ranges,
                "offset": each.offset,
            }
            for each in result.highlights
        ],
    }
