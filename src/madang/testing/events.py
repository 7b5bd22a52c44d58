"""Finding a frame among those received, and a readable complaint where it is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson


def matches(found: Any, expected: Any) -> bool:
    """Whether `found` has everything that `expected` names: of a mapping only the named fields
    are looked at, at every level; everything else must be equal."""
    if isinstance(expected, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and matches(found[name], value) for name, value in expected.items()
        )
    return bool(found == expected) and type(found) is type(expected)


def assert_event(
    frames: Iterable[Mapping[str, Any]], *, type: str, **fields: Any
) -> Mapping[str, Any]:
    """The one frame of this type with these fields.

        assert_event(frames, type="message.new", data={"content": "안녕"})

    Raises:
        AssertionError: there is none, or more than one; the text lists all frames.
    """
    listed = list(frames)
    found = [frame for frame in listed if matches(frame, {"type": type, **fields})]
    if len(found) == 1:
        return found[0]
    wanted = orjson.dumps({"type": type, **fields}, default=repr).decode()
    lines = [orjson.dumps(frame, default=repr).decode() for frame in listed]
    raise AssertionError("\n  ".join([f"{len(found)} frames match {wanted}; all frames:", *lines]))
