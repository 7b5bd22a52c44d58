"""The load generator: a C program (or, without a compiler, a Python one) and what drives it."""
