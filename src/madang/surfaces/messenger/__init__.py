"""The messenger: people writing to people, over one WebSocket and REST."""
