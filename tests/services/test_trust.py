"""From settings to a verifier: what is refused before a server starts, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from madang.services.auth import InvalidToken, mint
from madang.services.trust import is_short, minting_key, token_verifier
from madang.settings import TABLE, SettingsError, load

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
RSA = RSAKey.generate_key(2048)
PEM = RSA.as_pem(private=False).decode()
SECRET = "a secret of more than thirty-two characters"


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for row in TABLE:
        for name in row.names:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "set MADANG_JWT_SECRET_KEY"),
        ({"jwt_secret_key": PEM}, "MADANG_JWT_PUBLIC_KEY"),
        ({"jwt_public_key": "-----BEGIN nothing"}, "MADANG_JWT_PUBLIC_KEY cannot be used"),
        ({"jwks_url": "http://id.example/keys"}, "MADANG_JWKS_URL cannot be used"),
        ({"jwt_secret_key": SECRET, "jwt_algorithm": "RS256"}, "JWT_ALGORITHM names RS256"),
        ({"jwt_public_key": PEM, "jwt_algorithm": "ES256"}, "JWT_ALGORITHM names ES256"),
        ({"jwt_public_key": PEM, "jwt_algorithm": "HS256"}, "a secret for it is not set"),
        ({"jwks_url": "https://id.example/k", "jwt_algorithm": "HS256"}, "a secret for it"),
    ],
)
def test_no_start_without_a_key_that_fits(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        token_verifier(load(**values))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_development_server_makes_its_secret_and_keeps_it(tmp_path: Path) -> None:
    settings = load(dev=True, data_dir=tmp_path / "data")
    verifier = token_verifier(settings)
    for where in (settings, load(data_dir=tmp_path / "data")):
        token = mint(minting_key(where), "alice", now=NOW, ttl=60)
        assert verifier.verify(token, NOW).user_id == "alice"
        assert token_verifier(settings).verify(token, NOW).user_id == "alice"


def test_no_secret_is_made_where_a_key_is_configured(tmp_path: Path) -> None:
    token_verifier(load(dev=True, data_dir=tmp_path / "a", jwt_secret_key=SECRET))
    token_verifier(load(dev=True, data_dir=tmp_path / "b", jwt_public_key=PEM))
    assert list(tmp_path.iterdir()) == []


def test_a_made_secret_does_not_open_a_server_that_is_not_for_development(tmp_path: Path) -> None:
    token_verifier(load(dev=True, data_dir=tmp_path))
    with pytest.raises(SettingsError, match="No key to check tokens with"):
        token_verifier(load(data_dir=tmp_path))


def test_the_algorithm_setting_narrows_what_keys_allow() -> None:
    both = {"jwt_secret_key": SECRET, "jwt_public_key": PEM}
    claims = {"sub": "alice", "exp": NOW // SECOND + 60}
    hs256 = mint(minting_key(load(**both)), "alice", now=NOW, ttl=60)
    rs256 = jwt.encode({"alg": "RS256"}, claims, RSA)
    for token in (hs256, rs256):
        assert token_verifier(load(**both)).verify(token, NOW)
    only = token_verifier(load(**both, jwt_algorithm="RS256"))
    assert only.verify(rs256, NOW)
    with pytest.raises(InvalidToken):
        only.verify(hs256, NOW)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "No secret to sign with"),
        ({"jwt_public_key": PEM}, "Tokens come from your issuer"),
        ({"jwks_url": "https://id.example/keys"}, "Tokens come from your issuer"),
    ],
)
def test_no_token_without_a_secret(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        minting_key(load(**values))


@pytest.mark.parametrize(("secret", "short"), [("x" * 31, True), ("x" * 32, False)])
def test_short_secrets_work_and_are_known_to_be_short(secret: str, short: bool) -> None:
    settings = load(jwt_secret_key=secret)
    assert is_short(settings) is short
    token = mint(minting_key(settings), "alice", now=NOW, ttl=60)
    assert token_verifier(settings).verify(token, NOW)
