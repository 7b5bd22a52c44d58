"""A chat in the terminal, in one file.

    madang serve --dev
    python examples/chat_client.py "$(madang token alice)" bob
    python examples/chat_client.py "$(madang token bob)" alice

Stop the server while you write: what you send waits, and arrives when it is back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

import madang.client


async def show(me: madang.client.Client, conversation_id: str) -> None:
    """Print what others say here, as it happens."""
    async for event in me.events(signals=True):
        if isinstance(event, madang.client.Gap):
            print("… something was missed; see the history")
        elif event.conversation_id != conversation_id or event.user_id == me.user_id:
            continue
        elif event.type == "message.new":
            print(f"{event.user_id}: {event.message.content}")
            await me.read(event.message_id)
        elif event.type == "typing.start":
            print(f"({event.user_id} is typing)")


async def chat(url: str, token: str, other: str) -> None:
    async with madang.client.connect(url, token=token) as me:
        me.watch(lambda state: print(f"[{state.name}] {state.reason}"))
        talk = await me.create_conversation([other], kind="direct")
        for message in await me.messages(talk.id, limit=20):
            print(f"{message.sender_id}: {message.content}")
        showing = asyncio.create_task(show(me, talk.id))
        try:
            while line := await asyncio.to_thread(sys.stdin.readline):
                if text := line.strip():
                    me.post(talk.id, text)
        finally:
            showing.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Talk to one other person.")
    parser.add_argument("token", help="who you are: madang token USER prints one")
    parser.add_argument("other", help="the user to talk to")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(chat(arguments.url, arguments.token, arguments.other))
