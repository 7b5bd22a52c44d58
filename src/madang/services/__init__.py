"""The rules: who may do what, and what then happens.

Plain functions and small writes over the ports. May import `madang.ports`, `madang.model`,
`madang.protocol` and `madang.clock`. Never sees a socket, SQL, a framework or the hub.
"""
