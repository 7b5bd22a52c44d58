"""The rules of files: who may upload where, when a file is sent, and when it is gone.

Everything here runs inside a commit, like all rules. What moves bytes is in `uploads`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from madang.model.files import attachment_of, file_ids
from madang.model.ids import parse_uuid, uuid7
from madang.model.nouns import File, Message
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Forbidden, Invalid, NotFound
from madang.services import access
from madang.services.sizes import SMALL, json_size

_WITH_FILES = ("direct", "group", "agent")
"""Live rooms are for whoever has the code, and inboxes for backends."""

MAX_PENDING = 200
"""Files of one user that are part of no message yet: what may lie about for nothing."""


def not_found() -> NotFound:
    """There is no such file, or the caller may not have it."""
    return NotFound("File not found")


@dataclass(frozen=True, slots=True)
class BeginUpload:
    """Somebody will send so many bytes (None: until the end is there) into a conversation."""

    org_id: str
    conversation_id: str
    owner_id: str
    name: str
    bytes: int | None
    metadata: Mapping[str, Any]
    keep: int
    """Microseconds after which it is deleted unless more of it comes."""

    @property
    def size(self) -> int:
        return SMALL + json_size(self.metadata)

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.owner_id))

    def apply(self, tx: Transaction) -> File:
        conversation, _ = access.open_to(tx, self.conversation_id, self.owner_id)
        if conversation.kind not in _WITH_FILES:
            raise Forbidden("No files can be sent here")
        if tx.pending_files(self.owner_id) >= MAX_PENDING:
            raise Conflict("Too many files that were never sent")
        file = File(
            uuid7(tx.now),
            self.org_id,
            self.conversation_id,
            self.owner_id,
            None,
            self.name,
            "application/octet-stream",
            self.bytes,
            0,
            "uploading",
            None,
            self.metadata,
            tx.now,
            tx.now + self.keep,
        )
        tx.add_file(file)
        return file


@dataclass(frozen=True, slots=True)
class _OnFile:
    """A write about one's own file that is not part of a message yet."""

    org_id: str
    file_id: str
    owner_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.files.add(self.file_id)

    def _own(self, tx: Transaction) -> File:
        """Raises `NotFound` for what is not the owner's, gone, or in a conversation they left."""
        file = tx.file(self.file_id)
        if file is None or file.owner_id != self.owner_id or file.status == "deleted":
            raise not_found()
        if tx.participant(file.conversation_id, self.owner_id) is None:
            raise not_found()
        return file

    def _uploading(self, tx: Transaction) -> File:
        file = self._own(tx)
        if file.status != "uploading":
            raise Conflict("The upload is finished")
        return file


@dataclass(frozen=True, slots=True)
class AdvanceUpload(_OnFile):
    """The bytes up to `received` are stored; they follow those up to `after`, whoever else says
    otherwise."""

    after: int
    received: int
    keep: int

    def apply(self, tx: Transaction) -> File:
        file = self._uploading(tx)
        if file.received != self.after:
            raise Conflict("Somebody else uploads the same file")
        advanced = replace(file, received=self.received, expires_at=tx.now + self.keep)
        tx.save_file(advanced)
        return advanced


@dataclass(frozen=True, slots=True)
class FinishUpload(_OnFile):
    """All of it is stored, and known for what it is: it may be sent."""

    type: str
    thumbnail_size: int | None
    keep: int

    def apply(self, tx: Transaction) -> File:
        file = self._uploading(tx)
        if file.size not in (None, file.received):
            raise Conflict("The upload is not finished")
        finished = replace(
            file,
            type=self.type,
            size=file.received,
            status="ready",
            thumbnail_size=self.thumbnail_size,
            expires_at=tx.now + self.keep,
        )
        tx.save_file(finished)
        return finished


@dataclass(frozen=True, slots=True)
class DropUpload(_OnFile):
    """Its owner does not want to send it any more. Its blobs are deleted soon."""

    def apply(self, tx: Transaction) -> File:
        file = tx.file(self.file_id)
        if file is None or file.owner_id != self.owner_id or file.status == "deleted":
            raise not_found()
        if file.message_id is not None:
            raise Conflict("File was sent already: delete its message")
        return _delete(tx, file)


@dataclass(frozen=True, slots=True)
class ExpireFile:
    """What nobody went on with or sent in time is deleted. None where it was, meanwhile."""

    org_id: str
    file_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.files.add(self.file_id)

    def apply(self, tx: Transaction) -> File | None:
        file = tx.file(self.file_id)
        if file is None or file.expires_at is None or file.expires_at > tx.now:
            return None
        return _delete(tx, file)


@dataclass(frozen=True, slots=True)
class ForgetFile:
    """The blobs of a deleted file are gone: now its row may go."""

    org_id: str
    file_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.files.add(self.file_id)

    def apply(self, tx: Transaction) -> None:
        file = tx.file(self.file_id)
        if file is not None and file.status == "deleted":
            tx.remove_file(self.file_id)


def _delete(tx: Transaction, file: File) -> File:
    """Gone for everybody, with its name; its blobs are to follow."""
    deleted = replace(file, name="", metadata={}, status="deleted", expires_at=tx.now)
    if file.status != "deleted":
        tx.save_file(deleted)
    return deleted


# Files and messages. Used by the writes of `messages`.


def need_attached(needs: Needs, attachments: Sequence[Mapping[str, Any]]) -> None:
    """Announce what `check_attached` will read."""
    needs.files.update(file_ids(attachments))


def check_attached(
    tx: Transaction,
    conversation_id: str,
    sender_id: str,
    attachments: Sequence[Mapping[str, Any]],
) -> list[File]:
    """The files that a new message names: the sender's own, finished. One may be sent again where
    it was sent first.

    Raises:
        NotFound: there is no such file in this conversation that is the sender's.
        Conflict: it is not finished.
    """
    found: list[File] = []
    for attachment in attachments:
        if "file_id" not in attachment:
            continue
        file_id = parse_uuid(attachment["file_id"])
        file = None if file_id is None else tx.file(file_id)
        if (
            file is None
            or file.owner_id != sender_id
            or file.conversation_id != conversation_id
            or file.status == "deleted"
        ):
            raise not_found()
        if file.status != "ready":
            raise Conflict("The upload is not finished")
        if file in found:
            raise Invalid("attachments: the same file twice")
        found.append(file)
    return found


def attach(
    tx: Transaction,
    files: Sequence[File],
    message_id: str,
    attachments: Sequence[Mapping[str, Any]],
) -> tuple[Mapping[str, Any], ...]:
    """Make the checked files part of the message; its attachments as they are to be kept: of a
    file, what the server knows."""
    if not files:
        return tuple(attachments)
    for file in files:
        sent = replace(
            file,
            message_id=file.message_id or message_id,
            metadata={},
            expires_at=None,
            messages=file.messages + 1,
        )
        tx.save_file(sent)
    left = iter(files)
    return tuple(attachment_of(next(left)) if "file_id" in a else a for a in attachments)


def delete_attached(tx: Transaction, message: Message) -> None:
    """The message's files go with it, unless they are part of another as well."""
    for file_id in file_ids(message.attachments):
        file = tx.file(file_id)
        if file is None or file.message_id is None or file.status == "deleted":
            continue
        if file.messages > 1:
            tx.save_file(replace(file, messages=file.messages - 1))
        else:
            _delete(tx, file)
