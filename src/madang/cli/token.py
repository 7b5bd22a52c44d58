"""`madang token`: mint a token for development and for backends that share the secret."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from madang.cli.refusal import refuse, settings_errors_as_sentences
from madang.cli.signing import signing_settings
from madang.model.identity import DEFAULT_ORG


def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user id: 1 to 100 characters.")],
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help="admin, agent or service; repeatable."),
    ] = None,
    org: Annotated[
        str, typer.Option(metavar="ORG", show_default=False, help="The org, or tenant (default).")
    ] = DEFAULT_ORG,
    zone: Annotated[str | None, typer.Option(metavar="ZONE", help="A part of the org.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The name to show.")] = None,
    ttl: Annotated[
        int,
        typer.Option(
            min=1, metavar="SECONDS", show_default=False, help="How long it is valid (43200)."
        ),
    ] = 12 * 60 * 60,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where a --dev server keeps its secret (madang-data)."),
    ] = None,
) -> None:
    """Print a token for USER.

    It is signed with JWT_SECRET_KEY or, where none is set, with the secret that a server started
    with --dev has made in its data directory; the demo's, where only that is there.
    """
    from madang.clock import SystemClock
    from madang.services.auth import mint
    from madang.services.trust import minting_key

    with settings_errors_as_sentences():
        settings = signing_settings(data_dir)
        key = minting_key(settings)
    try:
        text = mint(
            key,
            user,
            now=SystemClock().now(),
            ttl=ttl,
            org=org,
            zone=zone,
            name=name,
            roles=role or (),
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    except ValueError as error:
        refuse(f"No token: {error}.")
    typer.echo(text)
