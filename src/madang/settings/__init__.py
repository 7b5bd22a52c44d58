"""The one table of everything that can be set: a name, a default and a sentence each.

The table makes `madang settings`, the `--help` texts and `docs/settings.md`. A value comes from,
first found first taken: the command line (or an argument in Python), the environment, `.env` in
the current directory, the default. In the environment every setting is read as `MADANG_NAME`;
those that deployments share between programs are read under their plain name too, and the
prefixed one wins. `HOST` and the like are not: too many other things set them.

Each theme is a file with its part of the table; `settings` puts them together. `load` is for a
program's start, `Settings` for a program that mounts Madang. Imports nothing else of Madang.
"""

from madang.settings.refusals import SettingsError
from madang.settings.settings import TABLE, Settings, load, markdown, unknown_names
from madang.settings.table import Row, Source

__all__ = [
    "TABLE",
    "Row",
    "Settings",
    "SettingsError",
    "Source",
    "load",
    "markdown",
    "unknown_names",
]
