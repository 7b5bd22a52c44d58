"""Tokens: what proves an identity and what does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from madang.model.identity import Identity
from madang.services.auth import (
    LEEWAY,
    MAX_TOKEN,
    AuthError,
    InvalidToken,
    TokenExpired,
    TokenVerifier,
    VerificationKey,
    mint,
)
from madang.services.keys import public_key, secret_key

SECOND = 1_000_000
NOW = 1_800_000_000
"""Seconds."""
SECRET = "a secret of more than thirty-two characters"

RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")


def at(seconds: float) -> int:
    return round(seconds * SECOND)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hs256(header: object, payload: object, secret: bytes = SECRET.encode()) -> str:
    """A token written by hand, so that it may say anything."""
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def token(**claims: Any) -> str:
    body = {"sub": "alice", "exp": NOW + 60} | claims
    return hs256({"alg": "HS256"}, {name: each for name, each in body.items() if each is not None})


def pem(key: RSAKey | ECKey | OKPKey) -> str:
    return key.as_pem(private=False).decode()


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(keys=(secret_key(SECRET),))


def refusal(verifier: TokenVerifier, text: str, now: int = NOW) -> AuthError:
    with pytest.raises(AuthError) as refused:
        verifier.verify(text, at(now))
    return refused.value


# --- what a good token says ---------------------------------------------------------------------


def test_the_least_token(verifier: TokenVerifier) -> None:
    assert verifier.verify(token(), at(NOW)) == Identity(
        user_id="alice",
        org="default",
        zone=None,
        name=None,
        roles=frozenset(),
        expires_at=NOW + 60,
    )


def test_the_whole_token(verifier: TokenVerifier) -> None:
    whole = token(sub="1234", org="acme", zone="seoul", name="김민지", roles=["admin", "agent"])
    identity = verifier.verify(whole, at(NOW))
    assert (identity.user_id, identity.org, identity.zone) == ("1234", "acme", "seoul")
    assert identity.name == "김민지"
    assert identity.roles == {"admin", "agent"}


def test_a_numeric_subject_is_its_decimal_text(verifier: TokenVerifier) -> None:
    assert verifier.verify(token(sub=42), at(NOW)).user_id == "42"


@pytest.mark.parametrize(
    ("roles", "known"),
    [
        (["admin", "owner", 7, None], {"admin"}),
        ("admin", set()),
        ({"admin": True}, set()),
        (None, set()),
    ],
)
def test_roles_we_do_not_know_are_left_out(
    verifier: TokenVerifier, roles: object, known: set[str]
) -> None:
    assert verifier.verify(token(roles=roles), at(NOW)).roles == known


@pytest.mark.parametrize("name", [7, "", "x" * 101, "a\nb"])
def test_an_odd_name_is_left_out(verifier: TokenVerifier, name: object) -> None:
    assert verifier.verify(token(name=name), at(NOW)).name is None


def test_equal_roles_and_orgs_are_one_object(verifier: TokenVerifier) -> None:
    first = verifier.verify(token(sub="a", org="acme", roles=["agent", "admin"]), at(NOW))
    second = verifier.verify(token(sub="b", org="acme", roles=["admin", "agent"]), at(NOW))
    assert first.roles is second.roles
    assert first.org is second.org


# --- time ---------------------------------------------------------------------------------------


def test_a_token_ends_at_its_second(verifier: TokenVerifier) -> None:
    text = token(exp=NOW)
    verifier.verify(text, at(NOW) - 1)
    with pytest.raises(TokenExpired, match=r"^Token expired$"):
        verifier.verify(text, at(NOW))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_another_machine_may_be_half_a_minute_ahead(verifier: TokenVerifier, claim: str) -> None:
    verifier.verify(token(**{claim: NOW + LEEWAY}), at(NOW))
    assert "future" in refusal(verifier, token(**{claim: NOW + LEEWAY + 1})).reason


@pytest.mark.parametrize("exp", [None, "1900000000", True, [], -1, 2**53 + 2, 1e300])
def test_a_time_must_be_a_time(verifier: TokenVerifier, exp: object) -> None:
    assert isinstance(refusal(verifier, token(exp=exp)), InvalidToken)


# --- whom it is from and for --------------------------------------------------------------------


@pytest.mark.parametrize(
    "sub",
    [None, "", " \n", "a\x00b", "x" * 101, True, 1.5, ["alice"], {}, "agent:echo"],
)
def test_a_subject_must_be_a_user_id(verifier: TokenVerifier, sub: object) -> None:
    assert refusal(verifier, token(sub=sub)).text == "Invalid token"


@pytest.mark.parametrize("claim", ["org", "zone"])
@pytest.mark.parametrize("value", ["", 7, "x" * 101, "a\x1fb", ["acme"]])
def test_what_decides_access_must_be_well_formed(
    verifier: TokenVerifier, claim: str, value: object
) -> None:
    assert isinstance(refusal(verifier, token(**{claim: value})), InvalidToken)


def test_audience_and_issuer_where_configured() -> None:
    verifier = TokenVerifier(keys=(secret_key(SECRET),), audience="madang", issuer="https://id")
    verifier.verify(token(aud="madang", iss="https://id"), at(NOW))
    verifier.verify(token(aud=["other", "madang"], iss="https://id"), at(NOW))
    for claims in (
        {},
        {"aud": "madang"},
        {"iss": "https://id"},
        {"aud": "madan", "iss": "https://id"},
        {"aud": ["other"], "iss": "https://id"},
        {"aud": {"madang": 1}, "iss": "https://id"},
        {"aud": "madang", "iss": "https://id/"},
    ):
        assert isinstance(refusal(verifier, token(**claims)), InvalidToken)


# --- forgeries ----------------------------------------------------------------------------------


def test_every_changed_character_is_noticed(verifier: TokenVerifier) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    good = token(roles=["admin"])
    body_end = good.rindex(".")
    for place in range(body_end):
        if good[place] == ".":
            continue
        other = chance.choice([each for each in "AZaz09-_" if each != good[place]])
        assert isinstance(
            refusal(verifier, good[:place] + other + good[place + 1 :]), InvalidToken
        ), place


def test_another_servers_token(verifier: TokenVerifier) -> None:
    theirs = hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60}, b"their secret" * 4)
    assert refusal(verifier, theirs).text == "Invalid token"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, {}, ["HS256"]])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_no_algorithm_is_no_token(
    verifier: TokenVerifier, algorithm: object, signature: str
) -> None:
    forged = f"{part({'alg': algorithm})}.{part({'sub': 'alice', 'exp': NOW + 60})}.{signature}"
    assert isinstance(refusal(verifier, forged), InvalidToken)


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=["rsa", "ec", "ed"])
def test_a_public_key_is_no_secret(key: RSAKey | ECKey | OKPKey) -> None:
    """The classic confusion: HS256 with the public key, which everyone has, as the secret."""
    text = pem(key)
    verifier = TokenVerifier(keys=(public_key(text),))
    claims = {"sub": "alice", "exp": NOW + 60}
    for secret in (text, text.strip(), text.replace("\n", "\r\n")):
        forged = hs256({"alg": "HS256"}, claims, secret.encode())
        assert isinstance(refusal(verifier, forged), InvalidToken)
    with pytest.raises(ValueError, match="PEM"):
        secret_key(text)


def test_both_a_secret_and_a_public_key_each_for_their_own() -> None:
    verifier = TokenVerifier(keys=(secret_key(SECRET), public_key(pem(RSA))))
    verifier.verify(token(), at(NOW))
    claims = {"sub": "bob", "exp": NOW + 60}
    assert verifier.verify(jwt.encode({"alg": "RS256"}, claims, RSA), at(NOW)).user_id == "bob"
    forged = hs256({"alg": "HS256"}, claims, pem(RSA).encode())
    assert isinstance(refusal(verifier, forged), InvalidToken)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "RS256", "PS256", "ES256", "dir"])
def test_the_keys_decide_the_algorithm(verifier: TokenVerifier, algorithm: str) -> None:
    forged = hs256({"alg": algorithm}, {"sub": "alice", "exp": NOW + 60})
    assert isinstance(refusal(verifier, forged), InvalidToken)


def test_stronger_hashes_with_our_secret_are_not_taken_either(verifier: TokenVerifier) -> None:
    real = jwt.encode(
        {"alg": "HS512"}, {"sub": "a", "exp": NOW + 60}, OctKey.import_key(SECRET), ["HS512"]
    )
    assert isinstance(refusal(verifier, real), InvalidToken)


@pytest.mark.parametrize(
    "extra",
    [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"crit": None}],
)
def test_critical_headers_are_refused(verifier: TokenVerifier, extra: dict[str, object]) -> None:
    forged = hs256({"alg": "HS256"} | extra, {"sub": "alice", "exp": NOW + 60})
    assert isinstance(refusal(verifier, forged), InvalidToken)


def test_a_key_in_the_token_is_not_looked_at(verifier: TokenVerifier) -> None:
    mine = OctKey.generate_key(256)
    header = {"alg": "HS256", "jwk": mine.as_dict(private=True), "jku": "http://127.0.0.1:1/keys"}
    forged = hs256(header, {"sub": "alice", "exp": NOW + 60}, mine.raw_value)
    assert isinstance(refusal(verifier, forged), InvalidToken)


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=["RS256", "ES256", "EdDSA"])
def test_asymmetric_tokens(key: RSAKey | ECKey | OKPKey) -> None:
    verifier = TokenVerifier(keys=(public_key(pem(key)),))
    good = mint(VerificationKey.of(key), "alice", now=at(NOW), ttl=60, roles=["service"])
    assert verifier.verify(good, at(NOW)).roles == {"service"}
    other: Key = type(key).generate_key()
    theirs = mint(VerificationKey.of(other), "alice", now=at(NOW), ttl=60)
    assert isinstance(refusal(verifier, theirs), InvalidToken)
    header, payload, signature = good.split(".")
    assert isinstance(refusal(verifier, f"{header}.{payload}.{signature[:-8]}"), InvalidToken)
    assert isinstance(refusal(verifier, f"{header}.{payload}."), InvalidToken)


def test_both_names_of_eddsa() -> None:
    verifier = TokenVerifier(keys=(public_key(pem(ED)),))
    good = mint(VerificationKey.of(ED), "alice", now=at(NOW), ttl=60)
    private = ED.private_key
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    payload = good.split(".")[1]
    for name in ("EdDSA", "Ed25519"):
        signed = f"{part({'alg': name})}.{payload}"
        signature = private.sign(signed.encode())
        assert verifier.verify(f"{signed}.{part(signature)}", at(NOW)).user_id == "alice"


def test_a_key_id_that_is_not_ours() -> None:
    verifier = TokenVerifier(keys=(VerificationKey.of(RSA, kid="spring"),))
    claims = {"sub": "alice", "exp": NOW + 60}
    verifier.verify(jwt.encode({"alg": "RS256", "kid": "spring"}, claims, RSA), at(NOW))
    verifier.verify(jwt.encode({"alg": "RS256"}, claims, RSA), at(NOW))
    wrong = jwt.encode({"alg": "RS256", "kid": "autumn"}, claims, RSA)
    assert isinstance(refusal(verifier, wrong), InvalidToken)


@pytest.mark.parametrize(
    "private",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        ec.generate_private_key(ec.SECP384R1()),
        x25519.X25519PrivateKey.generate(),
    ],
    ids=["rsa-1024", "p-384", "x25519"],
)
def test_weak_and_unfitting_keys_are_refused(
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey,
) -> None:
    text = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="RSA"):
        public_key(text.decode())


def test_a_private_key_is_refused_where_a_public_one_belongs() -> None:
    with pytest.raises(ValueError, match="private"):
        public_key(RSA.as_pem(private=True).decode())


# --- rubbish ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "x" * (MAX_TOKEN + 1),
        "é.é.é",
        "\ud800.a.b",
        "\x00.\x00.\x00",
        f"{part(b'[]')}.{part(b'{}')}.AAAA",
        f"{part(b'null')}.{part(b'{}')}.AAAA",
        f"{part(b'[' * 3000)}.{part(b'{}')}.AAAA",
        f"{part(b'{')}.{part(b'{}')}.AAAA",
        f"{part(bytes([255, 254]))}.{part(b'{}')}.AAAA",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.a.b.c",
    ],
)
def test_rubbish_is_an_invalid_token(verifier: TokenVerifier, text: str) -> None:
    assert refusal(verifier, text).text == "Invalid token"


@pytest.mark.parametrize("payload", [b"[]", b"7", b"null", b"{", b"", b"\xff", b"[" * 3000])
def test_signed_rubbish_is_an_invalid_token(verifier: TokenVerifier, payload: bytes) -> None:
    assert refusal(verifier, hs256({"alg": "HS256"}, payload)).text == "Invalid token"


def test_random_bytes_never_raise_anything_else(verifier: TokenVerifier) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    alphabet = 'abcXYZ019-_.=+/ \n\u00e9{}"[]'
    good = token()
    for _ in range(2000):
        start = chance.randrange(good.rindex("."))
        noise = "".join(chance.choices(alphabet, k=chance.randrange(1, 40)))
        text = good[:start] + noise + good[start + chance.randrange(5) :]
        if text != good:
            assert isinstance(refusal(verifier, text), AuthError)


@pytest.mark.parametrize("junk", [" ", "\n", "=", "+", "/", "!", "é", "\x00", "\ud800"])
def test_nothing_but_base64url_is_skipped_over(verifier: TokenVerifier, junk: str) -> None:
    """Python's decoder drops what it does not know; a token with it is not the one we signed."""
    good = token()
    for place in (0, good.index("."), good.rindex(".") + 5, len(good)):
        assert isinstance(refusal(verifier, good[:place] + junk + good[place:]), InvalidToken)


def test_a_client_never_learns_why(verifier: TokenVerifier) -> None:
    """Every refusal but the expired one reads the same."""
    texts = {
        refusal(verifier, each).text for each in ("", "a.b.c", token(sub=""), token(nbf=2**40))
    }
    assert texts == {"Invalid token"}


# --- minting ------------------------------------------------------------------------------------


def test_a_minted_token_says_what_was_asked(verifier: TokenVerifier) -> None:
    text = mint(
        secret_key(SECRET),
        "민지",
        now=at(NOW) + 999_999,
        ttl=60,
        org="acme",
        zone="seoul",
        name="김민지",
        roles=["service", "admin"],
    )
    assert verifier.verify(text, at(NOW) + 999_999) == Identity(
        "민지", "acme", "seoul", "김민지", frozenset({"service", "admin"}), NOW + 60
    )
    with pytest.raises(TokenExpired):
        verifier.verify(text, at(NOW + 60))


@pytest.mark.parametrize(
    "wrong", [{"user_id": ""}, {"user_id": "a\n"}, {"roles": ["root"]}, {"org": ""}, {"zone": "\t"}]
)
def test_nothing_is_minted_that_would_not_be_taken(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"characters|role"):
        mint(
            secret_key(SECRET), **dict[str, Any]({"user_id": "a", "now": at(NOW), "ttl": 1} | wrong)
        )


# --- speed --------------------------------------------------------------------------------------


def test_verifying_is_quick_enough_for_a_storm_of_connects(verifier: TokenVerifier) -> None:
    """4,500 connects a second leave 220 µs for each; the token may have a good quarter of it."""
    text = token(org="acme", roles=["admin"])
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(200):
            verifier.verify(text, at(NOW))
        best = min(best, (time.perf_counter() - begun) / 200)
    print(f"{best * 1e6:.1f} µs")
    assert best < 60e-6
