"""A shop that has Madang inside: one process, one port, one `uvicorn`.

    MADANG_DEV=true uvicorn --app-dir examples mounted_app:app

It keeps its database, and in development its secret, in madang-data/ where it is started. The chat
stands under /chat: the console at http://127.0.0.1:8000/chat/console/, the WebSocket at
ws://127.0.0.1:8000/chat/api/v1/messenger/ws. The shop's own routes publish into it; what they
publish is on disk before they answer.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException

import madang
from madang.protocol.errors import MadangError

chat = madang.create_app()
app = FastAPI(title="A shop", lifespan=chat.lifespan)
app.mount("/chat", chat)


@app.post("/orders/{number}/ship")
async def ship(number: int, customer: str) -> dict[str, Any]:
    """The customer hears of it at once, or on their return; shipping twice tells them once."""
    event = await chat.publish(
        "order_shipped",
        {"order": number},
        user_id=customer,
        idempotency_key=f"shipped {number}",
        publisher="shop",
    )
    return {"cursor": event.cursor}


@app.post("/help/{conversation_id}")
async def answer(conversation_id: str, clerk: str, text: str) -> dict[str, Any]:
    """A clerk, who must be in the conversation, answers from the shop's own page."""
    try:
        message = await chat.send(conversation_id, clerk, text)
    except MadangError as refused:
        raise HTTPException(403, refused.text) from None
    return {"message_id": message.id}
