"""What is said with an upload, however it comes in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from madang.protocol.errors import Invalid, TooLarge
from madang.surfaces.fields import ClientId, Strict, Text, Uuid, error_of
from madang.surfaces.requests import uuid_named

FilePath = Annotated[str, uuid_named("file_id")]


class Caption(Strict):
    """The message that the file is sent with."""

    message: Text = ""
    client_id: ClientId | None = None
    reply_to_id: Uuid | None = None


FIELDS = frozenset(Caption.model_fields)
_CAPTION = TypeAdapter(Caption)


def caption(fields: dict[str, Any], max_content: int) -> Caption:
    """Raises:
    Invalid, TooLarge: one of the fields is wrong.
    """
    try:
        found = _CAPTION.validate_python(fields)
    except ValidationError as error:
        raise error_of(error.errors(include_url=False)) from None
    if len(found.message.encode()) > max_content:
        raise TooLarge("Message too large")
    return found


def text(name: str, content: bytes | bytearray) -> str:
    """Raises `Invalid` for what is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Invalid(f"{name}: must be UTF-8") from None
