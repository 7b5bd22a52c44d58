"""Where the bench keeps what it builds, installs and writes; RESULTS.md of it is committed."""

from pathlib import Path

BENCH = Path(__file__).resolve().parent
REPOSITORY = BENCH.parent
PEERS = BENCH / ".peers"
BINARIES = PEERS / "bin"
RESULTS = BENCH / ".results"
REPORT = BENCH / "RESULTS.md"
UNREACHED = BENCH / "unreached.md"
FAULTS = BENCH / "faults.md"
"""What stops the targets that are not met, for the report; written by hand."""
SERVERS = BENCH / "servers"
