"""The Python client: people's conversations and the event log, over connections that break.

Connects, resumes by cursor, keeps what was sent until the server has it, and hands over every
event once and in order. May import `madang.protocol` and libraries (websockets, httpx, orjson),
never the server. It never drops an event without saying so (`Gap`).

    async with madang.client.connect("http://127.0.0.1:8000", token=token) as me:
        await me.send(conversation_id, "Hello, courtyard!")
        async for event in me.events():
            print(event.seq, event.type, event.data)
"""

from madang.client.backoff import Timing
from madang.client.connection import State
from madang.client.errors import (
    AuthError,
    Conflict,
    Disconnected,
    Forbidden,
    Invalid,
    MadangError,
    NotAParticipant,
    NotFound,
    OutboxFull,
    RateLimited,
    Removed,
    ServerFault,
    TimedOut,
    TooLarge,
    Unavailable,
)
from madang.client.eventlog import EventLog
from madang.client.messenger import Client, connect
from madang.client.model import (
    Conversation,
    Device,
    Event,
    Gap,
    LogEvent,
    Message,
    NotificationSettings,
    Page,
    Participant,
    Presence,
    Published,
    Receipt,
    Signal,
)
from madang.client.rest import Rest

__all__ = [
    "AuthError",
    "Client",
    "Conflict",
    "Conversation",
    "Device",
    "Disconnected",
    "Event",
    "EventLog",
    "Forbidden",
    "Gap",
    "Invalid",
    "LogEvent",
    "MadangError",
    "Message",
    "NotAParticipant",
    "NotFound",
    "NotificationSettings",
    "OutboxFull",
    "Page",
    "Participant",
    "Presence",
    "Published",
    "RateLimited",
    "Receipt",
    "Removed",
    "Rest",
    "ServerFault",
    "Signal",
    "State",
    "TimedOut",
    "Timing",
    "TooLarge",
    "Unavailable",
    "connect",
]
