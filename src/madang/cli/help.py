"""How a command's `--help` is written: a switch has no type, an argument no braces."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group"]


class Command(TyperCommand):
    """A command with plain help."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The line after `Usage:`, with `USER` for `{USER}`."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def get_help_option(self, ctx: Any) -> Any:
        """`--help`, which takes no value."""
        return _plain(super().get_help_option(ctx))


class Group(TyperGroup):
    """A group of commands with plain help."""

    def get_help_option(self, ctx: Any) -> Any:
        """`--help`, which takes no value."""
        return _plain(super().get_help_option(ctx))


def _plain(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option
