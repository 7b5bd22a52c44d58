"""The rules of live rooms: who may sit in one, what is said, asked and voted there, and its end.

Writes as in `services.messages`: each `apply` checks first and changes then, inside the commit.
Pure parts (`nicknames`, `words`, `content`, `tokens`) know no store. `counts` is the only one that
keeps anything: which rooms' counts are to be told, and when.
"""
