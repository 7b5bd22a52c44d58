"""Sessions with agents: REST, a WebSocket for each session, Server-Sent Events, and AG-UI."""
