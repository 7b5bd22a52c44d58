"""Between nodes: implementations of `ports.Bus`. Knows neither hub nor store nor socket."""
