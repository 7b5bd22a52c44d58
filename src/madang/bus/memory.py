"""The bus of one process: what is published reaches every other listener in the same turn."""

from __future__ import annotations

from collections.abc import Callable

from madang.ports import Envelope


class MemoryBus:
    """Loses nothing and keeps order, as long as the process lives. Nodes in one process share it;
    a single node shares it with nobody and pays nothing."""

    def __init__(self) -> None:
        self._listeners: dict[str, Callable[[Envelope], None]] = {}

    @property
    def shared(self) -> bool:
        return len(self._listeners) > 1

    def publish(self, envelope: Envelope) -> None:
        for node, receive in list(self._listeners.items()):
            if node != envelope.node:
                receive(envelope)

    def listen(self, node: str, receive: Callable[[Envelope], None]) -> Callable[[], None]:
        self._listeners[node] = receive

        def stop() -> None:
            self._listeners.pop(node, None)

        return stop
