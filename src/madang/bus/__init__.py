"""Between nodes: what one has committed or signalled, told to the others.

May import `madang.ports` and what is below. Never knows the hub, the store or a connection, and may
lose, repeat and reorder: delivery heals that from the log.
"""
