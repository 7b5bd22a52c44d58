"""Between nodes: implementations of `ports.Bus`. Knows nothing of the hub, the store or a socket."""
