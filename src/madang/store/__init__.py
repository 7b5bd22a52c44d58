"""The durable side: tables, the transaction of a batch, group commit, queries, migrations.

May import `ports`, `clock`, `model` and `protocol`. Never knows the hub, the bus or a service: it
applies writes without knowing what they decide, and hands committed events to one callback.
"""
