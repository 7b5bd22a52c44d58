"""What stands in `deploy/`, read by the programs it is for or by their linters."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from compose_spec.models import ComposeSpecification

from madang.settings import TABLE, Settings
from tests.nodes.nginx import configure, program

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
WHOLE_STOP_SECONDS = 10
"""What the manual promises that stopping takes."""


def tool(name: str) -> str:
    """A program that a wheel has put beside this Python."""
    found = Path(sys.prefix) / "bin" / name
    assert found.exists(), f"{name} is not installed: run `make setup`"
    return str(found)


def said(*command: str | Path, cwd: Path = DEPLOY) -> str:
    """What a command that must succeed says."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def named(text: str) -> set[str]:
    """The settings a file names."""
    return set(re.findall(r"\b(?:MADANG_[A-Z_]+|DATABASE_URL|REDIS_URL|JWT_SECRET_KEY)\b", text))


# --- nginx --------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [[18001], [18001, 18002]])
def test_nginx_takes_its_configuration(tmp_path: Path, nodes: list[int]) -> None:
    assert "test is successful" in said(*configure(tmp_path, 18000, nodes), "-t")


def test_nginx_takes_the_containers_own_file(tmp_path: Path) -> None:
    configure(tmp_path, 18000, [18001, 18002])
    text = (DEPLOY / "nginx-main.conf").read_text("utf-8")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    for shipped, here in (
        ("/etc/nginx/conf.d/*.conf", f"{tmp_path}/madang.conf"),
        ("/tmp/nginx.pid", f"{tmp_path}/nginx.pid"),
        ("/dev/stderr", f"{tmp_path}/error.log"),
        ("/dev/stdout", f"{tmp_path}/access.log"),
        ("worker_rlimit_nofile 131072", "worker_rlimit_nofile 1024"),
        ("http {", f"http {{\n{paths}"),
    ):
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    (tmp_path / "main.conf").write_text(text, "utf-8")
    command = (program(), "-p", tmp_path, "-e", tmp_path / "error.log", "-c", "main.conf", "-t")
    assert "test is successful" in said(*command)


# --- Caddy --------------------------------------------------------------------------------------


def test_caddy_takes_its_configuration() -> None:
    file = DEPLOY / "Caddyfile"
    said(tool("caddy"), "validate", "--config", file, "--adapter", "caddyfile")
    assert said(tool("caddy"), "fmt", file) == file.read_text("utf-8"), "caddy fmt"
    adapted = json.loads(said(tool("caddy"), "adapt", "--config", file).partition("\n")[0])
    proxy = next(
        handler for handler in _dictionaries(adapted) if handler.get("handler") == "reverse_proxy"
    )
    assert [each["dial"] for each in proxy["upstreams"]] == ["node-1:8000", "node-2:8000"]
    assert proxy["flush_interval"] == -1
    assert proxy["health_checks"]["active"]["uri"] == "/readyz"


def _dictionaries(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for each in value.values() for found in _dictionaries(each))]
    if isinstance(value, list):
        return [found for each in value for found in _dictionaries(each)]
    return []


# --- the image ----------------------------------------------------------------------------------


def test_hadolint_finds_nothing() -> None:
    assert said(tool("hadolint"), "--failure-threshold", "style", DEPLOY / "Dockerfile") == ""


def test_the_image_is_not_root_and_asks_itself() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    final = text.rpartition("\nFROM ")[2]
    user = re.search(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert user is not None and int(user[1]) > 0
    assert "PIP_CONSTRAINT=/build/constraints.txt" in text
    health = re.search(r"^HEALTHCHECK .*\\\n  CMD (\[.*\])$", final, re.MULTILINE)
    assert health is not None
    asked = json.loads(health[1])
    assert asked[:2] == ["python", "-c"]
    compile(asked[2], "HEALTHCHECK", "exec")
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert sent[0] == "*", "nothing goes to the builder that is not named"
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for source in line.split():
            assert f"!{source}" in sent
            assert (ROOT / source).exists()


def test_the_health_check_answers_with_its_exit_code(server: Any) -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    found = re.search(r"CMD (\[\"python\".*\])$", text, re.MULTILINE)
    assert found is not None
    code = json.loads(found[1])[2]
    for port, healthy in ((server.port, True), (1, False)):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"MADANG_PORT": str(port)}, capture_output=True
        )
        assert (done.returncode == 0) is healthy


# --- Compose ------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    """The file as Compose reads it, with every secret that it asks for being the word `filled`."""
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    content = yaml.safe_load(re.sub(r"\$\{\w+:\?[^}]*\}", "filled", text))
    assert isinstance(content, dict)
    return content


def test_compose_is_what_the_specification_says() -> None:
    content = compose()
    ComposeSpecification.model_validate(content)
    parsed = PyCompose.from_json(json.dumps(content))
    for check in ("networks", "volumes", "configs", "secrets"):
        getattr(parsed, f"validate_{check}")()
    assert sorted(parsed.service_names()) == sorted(content["services"])


def test_a_wrong_compose_file_is_noticed() -> None:
    content = compose()
    content["services"]["node-1"]["healthchek"] = {}
    with pytest.raises(Exception, match="healthchek"):
        PyCompose.from_json(json.dumps(content))


def test_nodes_serve_as_a_role_that_owns_nothing() -> None:
    services = compose()["services"]
    for name in ("node-1", "node-2"):
        node = services[name]
        assert "//madang_app:" in node["environment"]["DATABASE_URL"]
        assert "owner" not in json.dumps(node)
        assert node["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert int(node["stop_grace_period"].removesuffix("s")) > WHOLE_STOP_SECONDS
        assert node["read_only"] and node["cap_drop"] == ["ALL"]
    assert "//madang_owner:" in services["migrate"]["environment"]["DATABASE_URL"]
    assert services["migrate"]["command"] == ["db", "upgrade"]
    for name in ("postgres", "valkey", "nginx"):
        assert "healthcheck" in services[name], name
    addresses = {services[name]["environment"]["DATABASE_URL"] for name in ("node-1", "node-2")}
    assert len(addresses) == 1


def test_no_secret_is_committed() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+)(?::[?-][^}]*)?\}", text))
    example = (DEPLOY / "example.env").read_text("utf-8")
    offered = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    assert asked == set(offered)
    assert {name for name, value in offered.items() if value} == {"PORT"}
    for name in asked - {"PORT"}:
        assert not re.search(rf"\$\{{{name}\}}|\$\{{{name}:-", text), f"{name} must be asked for"
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert ".env" in ignored


# --- systemd ------------------------------------------------------------------------------------


class _Unit(configparser.RawConfigParser):
    """A unit file: names keep their case, and the last of several values counts."""

    def __init__(self) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",))

    def optionxform(self, name: str) -> str:
        return name


def test_the_unit_is_hardened_and_lets_a_node_drain(tmp_path: Path) -> None:
    text = (DEPLOY / "madang.service").read_text("utf-8")
    unit = _Unit()
    unit.read_string(text)
    service = unit["Service"]
    assert {
        "DynamicUser": "yes",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "KillSignal": "SIGTERM",
        "KillMode": "mixed",
        "CapabilityBoundingSet": "",
    }.items() <= dict(service).items()
    assert int(service["TimeoutStopSec"]) > WHOLE_STOP_SECONDS
    assert int(service["LimitNOFILE"]) >= 2 * Settings.model_fields["ws_max_connections"].default
    assert service["ExecStart"].endswith("/madang serve")
    if shutil.which("systemd-analyze"):
        # What it starts must be there, so something that is everywhere stands in for it.
        there = text.replace(service["ExecStart"], shutil.which("true") or "/bin/true")
        (tmp_path / "madang.service").write_text(there, "utf-8")
        said("systemd-analyze", "verify", tmp_path / "madang.service")
        said(
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=20",
            tmp_path / "madang.service",
        )


# --- all of them --------------------------------------------------------------------------------


def test_every_setting_that_is_named_exists() -> None:
    known = {name for row in TABLE for name in row.names} | {"MADANG_SITE"}
    for file in sorted(DEPLOY.iterdir()):
        assert named(file.read_text("utf-8")) <= known, file.name


def test_the_readme_names_every_file() -> None:
    text = (DEPLOY / "README.md").read_text("utf-8")
    for file in DEPLOY.iterdir():
        assert file.name.removesuffix(".dockerignore") in text or file.name == "README.md"
