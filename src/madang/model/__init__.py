"""The nouns of Madang and the rules that need nothing but their arguments.

May import the standard library and `madang.protocol`'s errors. Never does I/O, never reads a clock.
"""
