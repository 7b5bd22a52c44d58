"""Measures Madang beside its peers, in one run and on the same work.

Every server runs alone on the first core, the load generator on the second. This package may import
anything of the standard library and `rich`; it never imports `madang`: the server under test is a
process of its own, reached only through what `contracts` promise to any client.
"""
