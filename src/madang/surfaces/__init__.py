"""What clients speak: the frames and REST shapes of each surface, translated to services.

May import gateways, delivery, services and what is below. No SQL, no sockets, no rules: a surface
reads a request, asks a service, and words the answer.
"""
