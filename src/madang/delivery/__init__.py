"""From the log to people: committed events to the bus and the hub, gaps healed, the past caught up.

    commit ─▶ Delivery.committed ─▶ hub (this node's connections)
                              └───▶ bus ─▶ Delivery.arrived on the other nodes ─▶ their hubs

May import the hub, the ports and what is below. The bus may lose, repeat or reorder; what leaves
here is in the log's order, each event once.
"""
