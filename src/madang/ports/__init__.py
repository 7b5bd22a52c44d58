"""What services and delivery need of the world, as Protocols with two real implementations each:
`store` is the durable side, `bus` what goes on between nodes."""
