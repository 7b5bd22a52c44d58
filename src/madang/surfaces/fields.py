"""The field types that frames and bodies of all surfaces are made of, and how a failed validation
becomes the one error a client sees."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import ErrorDetails, PydanticCustomError

from madang.model.ids import is_user_id, parse_uuid
from madang.protocol.errors import Invalid, InvalidJson, MadangError, TooLarge, invalid_id

MAX_JSON_DEPTH = 32
"""Levels of nesting in free-form JSON: what anyone means fits, and no encoder's limit is near."""
MAX_ATTACHMENTS = 20
MAX_CONVERSATION_METADATA = 16 * 1024
"""Bytes of JSON: a page of conversations carries it two hundred times, and every event about the
conversation to everyone in it."""
MAX_PAYLOAD = 64 * 1024
"""Bytes of an event's payload as JSON: as much as a message, and so as what clients expect in one
frame."""


class Strict(BaseModel):
    """A request: unknown fields are refused, types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "must not contain NUL")
    return text


def _uuid(text: Any) -> str:
    found = parse_uuid(text)
    if found is None:
        raise PydanticCustomError("not_an_id", "not an id")
    return found


def _user(value: Any) -> str:
    """All-digit user ids may come as JSON integers."""
    if type(value) is int and value >= 0:
        value = str(value)
    if not isinstance(value, str) or not is_user_id(value):
        raise PydanticCustomError("not_an_id", "not an id")
    return value


def _shallow(value: Any) -> Any:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_JSON_DEPTH:
            raise PydanticCustomError("too_deep", "nested too deep")
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                below.extend(item.values())
            elif type(item) is list:
                below.extend(item)
        level = below
    return value


def _at_most(limit: int) -> AfterValidator:
    """As JSON, in bytes."""

    def check(value: Any) -> Any:
        if len(orjson.dumps(value)) > limit:
            raise PydanticCustomError("too_large", f"at most {limit} bytes of JSON")
        return value

    return AfterValidator(check)


Text = Annotated[str, AfterValidator(_no_nul)]
Uuid = Annotated[str, BeforeValidator(_uuid)]
UserRef = Annotated[str, BeforeValidator(_user)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_shallow)]
JsonValue = Annotated[Any, AfterValidator(_shallow)]
ConversationMetadata = Annotated[JsonObject, _at_most(MAX_CONVERSATION_METADATA)]
Payload = Annotated[JsonValue, _at_most(MAX_PAYLOAD)]
ClientId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_nul)]
Title = Annotated[str, Field(max_length=200), AfterValidator(_no_nul)]
Attachments = Annotated[list[JsonObject], Field(max_length=MAX_ATTACHMENTS)]


MAX_REPLY_TO = 200
"""Characters of a frame's `id` that an error carries back."""


def reply_to_of(content: Any) -> str | int | None:
    """The `id` of a frame, whatever else is wrong with it; None where it is no id either."""
    given = content.get("id") if isinstance(content, dict) else None
    if isinstance(given, bool) or not isinstance(given, str | int):
        return None
    return given if len(str(given)) <= MAX_REPLY_TO else None


_JOINERS = frozenset(("\u200d", *map(chr, range(0xE0020, 0xE0080))))
"""Invisible parts of emoji: the joiner of families, the letters of flags (UTS #51, 1.4.9)."""


def _emoji(text: str) -> str:
    if not text.strip() or not all(c.isprintable() or c in _JOINERS for c in text):
        raise PydanticCustomError("not_an_emoji", "must be an emoji or a short name")
    return text


Emoji = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_emoji)]


def error_of(details: list[ErrorDetails]) -> MadangError:
    """The first thing that is wrong with a request, in the words of the contract."""
    first = details[0]
    if first["type"] == "missing":
        # A field of another name, rather than the one that it was meant to be.
        unknown = (each for each in details if each["type"] == "extra_forbidden")
        first = next(unknown, first)
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    name = where[0] if where else "request"
    kind = first["type"]
    if not where and kind in _NO_OBJECT:
        return Invalid("Request body must be a JSON object")
    if kind == "too_large":
        return TooLarge(f"{name}: {first['msg']}")
    if kind == "extra_forbidden":
        return Invalid(f"Unknown field: {'.'.join(where)[:100]}")
    if kind == "missing" and name not in _MISSED_IDS:
        return Invalid(f"Missing field: {'.'.join(where)}")
    if kind == "not_an_id" or (name.endswith("_id") and name not in _FREE_IDS):
        return invalid_id(name)
    if kind == "json_invalid":
        return InvalidJson("Invalid JSON format")
    return Invalid(f"{'.'.join(where)[:100]}: {first['msg']}")


_FREE_IDS = frozenset({"client_id"})
_MISSED_IDS = frozenset({"conversation_id", "message_id"})
"""Which conversation or message is meant: none at all is answered as what is no id."""
_NO_OBJECT = frozenset({"missing", "model_type", "model_attributes_type", "dict_type"})
