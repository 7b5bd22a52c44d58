"""Whose secret `madang token` and `madang tail` sign with."""

from __future__ import annotations

from pathlib import Path

import typer

from madang.services.keys import DEV_SECRET_FILE
from madang.settings import Settings, load

DEMO_DIRECTORY = "demo"
"""Where in the usual data directory `madang demo` keeps its things."""


def signing_settings(data_dir: Path | None) -> Settings:
    """The settings, with the demo's data directory where no secret is set or kept in the usual one
    and the demo has one. Says so on stderr."""
    settings = load(data_dir=data_dir)
    demo = settings.data_dir / DEMO_DIRECTORY
    if (
        data_dir is None
        and settings.jwt_secret_key is None
        and settings.jwt_public_key is None
        and settings.jwks_url is None
        and not (settings.data_dir / DEV_SECRET_FILE).exists()
        and (demo / DEV_SECRET_FILE).exists()
    ):
        typer.secho(f"Signed with the secret of the demo in {demo}/.", dim=True, err=True)
        return load(data_dir=demo)
    return settings
