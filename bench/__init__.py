"""Measures Madang beside its peers, in one run and on the same work.

Every server runs alone on the first core, the load generator on the second, and with it PostgreSQL
and Valkey where there are some. This package may import anything of the standard library and
`rich`; scenarios and peers never import `madang`: the server under test is a process of its own,
reached only through what `contracts` promise to any client. `store`, `pages` and `parts` measure
what is inside it and are programs of their own.
"""
