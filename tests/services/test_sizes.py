"""What waits for a commit counts about as many bytes as a client made it carry."""

from __future__ import annotations

import pytest

from madang.ports.store import Write
from madang.services.conversations import AddParticipants, CreateConversation, UpdateConversation
from madang.services.messages import DeleteMessage, EditMessage, SendMessage
from madang.services.publishing import PublishEvent

LONG = "x" * 50_000
PEOPLE = tuple(f"user-{n}" for n in range(1000))


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (SendMessage("o", "c", "u", "hi"), SendMessage("o", "c", "u", LONG)),
        (SendMessage("o", "c", "u", ""), SendMessage("o", "c", "u", "", metadata={"a": [LONG]})),
        (
            SendMessage("o", "c", "u", ""),
            SendMessage("o", "c", "u", "", attachments=({"url": LONG},)),
        ),
        (EditMessage("o", "m", "u", "hi"), EditMessage("o", "m", "u", LONG)),
        (PublishEvent("o", "u", "t", None), PublishEvent("o", "u", "t", {LONG: 1})),
        (
            CreateConversation("o", "u", "group", ()),
            CreateConversation("o", "u", "group", PEOPLE),
        ),
        (
            UpdateConversation("o", "c", "u"),
            UpdateConversation("o", "c", "u", metadata={"a": LONG}),
        ),
        (AddParticipants("o", "c", "u", ()), AddParticipants("o", "c", "u", PEOPLE)),
    ],
    ids=lambda write: type(write).__name__,
)
def test_what_a_client_makes_large_is_counted(small: Write, large: Write) -> None:
    assert small.size < 2_000
    assert large.size > 50_000


def test_a_write_with_nothing_large_counts_for_little() -> None:
    assert 0 < DeleteMessage("o", "m", "u").size < 2_000
