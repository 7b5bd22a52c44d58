"""The settings table: where values come from, what is shown of them, and its page in docs/."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from madang.settings import TABLE, Settings, SettingsError, load, markdown, unknown_names

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

SHARED = {
    "ALLOWED_FILE_TYPES",
    "FILE_STORAGE_PATH",
    "FILE_STORAGE_TYPE",
    "MAX_FILE_SIZE",
    "S3_BUCKET_NAME",
    "DATABASE_URL",
    "REDIS_URL",
    "JWT_SECRET_KEY",
    "JWT_ALGORITHM",
    "WS_MAX_CONNECTIONS",
    "WS_HEARTBEAT_INTERVAL",
    "WS_CONNECTION_TIMEOUT",
    "WS_MESSAGE_SIZE_LIMIT",
    "RATE_LIMIT_ENABLED",
    "RATE_LIMIT_MESSAGES_PER_MINUTE",
    "CORS_ORIGINS",
    "STREAM_CHUNK_SIZE",
    "STREAM_DELAY_MS",
}
"""The names that are read without the prefix, and no others."""


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for row in TABLE:
        for name in row.names:
            monkeypatch.delenv(name, raising=False)


def origin(settings: Settings, name: str) -> str:
    return next(each.source for each in settings.sources() if each.row.name == name)


def shown(settings: Settings, name: str) -> str:
    return next(each.value for each in settings.sources() if each.row.name == name)


def test_page_is_what_the_table_makes() -> None:
    assert PAGE.read_text("utf-8") == markdown(), (
        "run: .venv/bin/madang settings --markdown > docs/settings.md"
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_setting_has_a_sentence(row: object) -> None:
    sentence = getattr(row, "sentence", "")
    assert len(sentence) > 20
    assert sentence.endswith(".")
    assert "|" not in sentence


def test_numbers_say_their_unit() -> None:
    units = (
        "second",
        "byte",
        "event",
        "message",
        "connection",
        "port",
        "minute",
        "upload",
        "character",
        "answer",
    )
    for name, field in Settings.model_fields.items():
        if field.annotation in (int, float):
            text = f"{name} {field.description}".lower()
            assert any(unit in text for unit in units), name


def test_only_the_shared_names_are_read_without_the_prefix() -> None:
    plain = {name for row in TABLE for name in row.names if not name.startswith("MADANG_")}
    assert plain == SHARED
    assert all(row.names[0] == f"MADANG_{row.name.upper()}" for row in TABLE)


def test_defaults() -> None:
    settings = load()
    assert settings.port == 8000
    assert settings.database_url == "sqlite:///madang-data/madang.sqlite3"
    assert settings.redis_url is None
    assert settings.ws_message_size_limit == 65_536
    assert settings.jwt_secret_key is None
    assert not settings.dev
    assert {each.source for each in settings.sources()} == {"default"}


def test_database_is_in_the_data_directory(tmp_path: Path) -> None:
    assert load(data_dir=tmp_path).database_url == f"sqlite:///{tmp_path}/madang.sqlite3"


def test_common_variables_of_other_programs_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "DEV", "DATA_DIR", "LOG_LEVEL"):
        monkeypatch.setenv(name, "1")
    settings = load()
    assert (settings.host, settings.port, settings.dev) == ("127.0.0.1", 8000, False)
    assert settings.log_level == "info"


def test_first_found_first_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("DATABASE_URL=sqlite:///file.db\n")
    assert load().database_url == "sqlite:///file.db"
    assert origin(load(), "database_url") == ".env: DATABASE_URL"

    monkeypatch.setenv("DATABASE_URL", "sqlite:///plain.db")
    assert load().database_url == "sqlite:///plain.db"
    assert origin(load(), "database_url") == "environment: DATABASE_URL"

    monkeypatch.setenv("MADANG_DATABASE_URL", "sqlite:///prefixed.db")
    assert load().database_url == "sqlite:///prefixed.db"
    assert origin(load(), "database_url") == "environment: MADANG_DATABASE_URL"

    given = load(database_url="sqlite:///given.db")
    assert given.database_url == "sqlite:///given.db"
    assert origin(given, "database_url") == "command line"


def test_environment_wins_over_the_file_under_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MADANG_DATABASE_URL=sqlite:///file.db\n")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///plain.db")
    assert load().database_url == "sqlite:///plain.db"
    assert origin(load(), "database_url") == "environment: DATABASE_URL"


def test_what_the_command_line_did_not_give_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADANG_PORT", "9001")
    settings = load(port=None)
    assert settings.port == 9001
    assert origin(settings, "port") == "environment: MADANG_PORT"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("MADANG_PORT", "")
    settings = load()
    assert settings.redis_url is None
    assert settings.port == 8000
    assert origin(settings, "port") == "default"


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://a.example", ("https://a.example",)),
        ("https://a.example, https://b.example,", ("https://a.example", "https://b.example")),
        ("*", ("*",)),
        ('["https://a.example", "https://b.example/"]', ("https://a.example", "https://b.example")),
        ("null,capacitor://localhost", ("null", "capacitor://localhost")),
    ],
)
def test_lists_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", text)
    assert load().cors_origins == origins


@pytest.mark.parametrize(
    "text", ["a.example", "https://*.a.example", "https://a.kr/chat", "[1]", "[x"]
)
def test_origins_that_no_browser_says_are_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """They would allow nobody, and say nothing."""
    monkeypatch.setenv("CORS_ORIGINS", text)
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        load()


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET_KEY", "tiger-in-the-courtyard")
    monkeypatch.setenv("DATABASE_URL", "postgresql://madang:tiger-too@db.example:5432/madang")
    monkeypatch.setenv("REDIS_URL", "redis://:tiger-three@cache.example")
    settings = load()
    everything = repr(settings) + str(settings) + repr(settings.sources())
    assert "tiger" not in everything
    assert shown(settings, "database_url") == "postgresql://madang:********@db.example:5432/madang"
    assert settings.database_url.startswith("postgresql://madang:tiger-too@")


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MADANG_PORT", "abc", "MADANG_PORT (environment) is 'abc': "),
        ("MADANG_PORT", "65536", "MADANG_PORT (environment) is '65536': "),
        ("JWT_ALGORITHM", "none", "JWT_ALGORITHM (environment) is 'none': "),
        ("WS_HEARTBEAT_INTERVAL", "nan", "WS_HEARTBEAT_INTERVAL (environment) is 'nan': "),
        ("MADANG_LOG_LEVEL", "loud", "MADANG_LOG_LEVEL (environment) is 'loud': "),
        ("MADANG_JWT_PUBLIC_KEY", "no/such.pem", "MADANG_JWT_PUBLIC_KEY (environment): "),
    ],
)
def test_a_bad_value_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        load()
    text = str(refused.value)
    assert text.startswith(sentence)
    assert text.endswith(".")
    assert "\n" not in text
    assert "pydantic" not in text


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="no setting 'databse_url'"):
        load(databse_url="x")


def test_settings_do_not_change() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADANG_PROT", "1")
    Path(".env").write_text("MADANG_HSOT=x\nOTHER=1\n")
    assert {"MADANG_HSOT", "MADANG_PROT"} <= set(unknown_names())
    assert "OTHER" not in unknown_names()


def test_a_pem_in_one_line_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n"
    monkeypatch.setenv("MADANG_JWT_PUBLIC_KEY", pem.replace("\n", "\\n"))
    assert load().jwt_public_key == pem
    (tmp_path / "key.pem").write_text(pem)
    monkeypatch.setenv("MADANG_JWT_PUBLIC_KEY", "key.pem")
    assert load().jwt_public_key == pem


def test_python_arguments_are_checked_by_type_checkers_and_at_run_time() -> None:
    assert Settings(dev=True, database_url="sqlite:///x", cors_origins=("https://a.kr",)).dev
