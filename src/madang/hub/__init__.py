"""Inside one node: which connections belong to whom, and how a frame reaches them all.

    event ─ Outgoing ─▶ Channel.pending ─ once a loop turn ─▶ Batch ─▶ one write per connection

May import `madang.protocol`, `madang.model` and `madang.clock`. Never does SQL, never awaits and
never makes a task: everything here happens within one turn of the event loop.
"""
