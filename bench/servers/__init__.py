"""What the peers run: each the shortest server that its own documentation would show."""
