"""The rules: who may do what, and what then happens.

Plain functions, small writes over the ports, and the little that a node keeps of its users (rate
limits, who is typing). May import `madang.ports`, `madang.model`, `madang.protocol`,
`madang.clock`, and for tokens (`auth`, `keys`, `trust`) joserfc, httpx and `madang.settings`.
`live` has the rules of live rooms; it may import what tells look-alike names.
Of the network it sees only the address of a key set (`keys`); never a client's socket, SQL, a web
framework or the hub.
"""
