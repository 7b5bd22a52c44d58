"""One file per peer: how it is installed, started and spoken to."""
