"""Where the bench keeps what it builds, installs and writes; only RESULTS.md is committed."""

from pathlib import Path

BENCH = Path(__file__).resolve().parent
REPOSITORY = BENCH.parent
PEERS = BENCH / ".peers"
BINARIES = PEERS / "bin"
RESULTS = BENCH / ".results"
REPORT = BENCH / "RESULTS.md"
SERVERS = BENCH / "servers"
