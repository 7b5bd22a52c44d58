"""Files in messages: how an attachment names one, and where people find it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from madang.model.nouns import File

FILES = "/api/chat/files"
"""Where files are, below the server's address: one place, whatever surface a file came in by."""

THUMBNAIL_TYPE = "image/webp"


def file_ids(attachments: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of the files among attachments, in order; what has no id is the sender's own JSON."""
    return [a["file_id"] for a in attachments if isinstance(a.get("file_id"), str)]


def file_url(file_id: str) -> str:
    """Where its bytes are, for those who may have them."""
    return f"{FILES}/{file_id}"


def thumbnail_url(file: File) -> str | None:
    """Where its thumbnail is, if it has one."""
    return None if file.thumbnail_size is None else f"{FILES}/{file.id}/thumb"


def attachment_of(file: File) -> dict[str, Any]:
    """FILE, as messages carry it: from what the server knows, never from what somebody said."""
    found: dict[str, Any] = {
        "file_id": file.id,
        "name": file.name,
        "type": file.type,
        "size": file.size,
        "file_url": file_url(file.id),
    }
    thumbnail = thumbnail_url(file)
    if thumbnail is not None:
        found["thumbnail_url"] = thumbnail
    return found
