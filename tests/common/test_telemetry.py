"""Every package that the project asks for was looked at: a row says what it sends of its use."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from moebius_edge.common.telemetry import ONNX_RUNTIME, ROWS, is_switched_off, switch_off

ROOT = Path(__file__).parents[2]
LOOKED_AT = {package for row in ROWS for package in row.packages}
OWN = "moebius-edge"


def required() -> Iterator[str]:
    """The packages of users, in all languages; not those that only development needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for line in [
        *project["dependencies"],
        *(line for name in extras if name != "dev" for line in extras[name]),
    ]:
        yield re.split(r"[^\w-]", line)[0].lower()
    packaging = ROOT / "moebius_edge" / "packaging"
    yield from json.loads((packaging / "web" / "package.json").read_text())["dependencies"]
    for gradle in packaging.glob("android/**/build.gradle.kts"):
        yield from re.findall(r'(?:api|implementation)\("com\.microsoft[\w.]*:([\w-]+):', gradle.read_text())


def test_every_package_that_users_install_was_looked_at() -> None:
    found = set(required()) - {OWN}
    assert {"onnxruntime", "onnxruntime-web", "onnxruntime-android", "torch"} <= found
    assert not found - LOOKED_AT
    assert not LOOKED_AT - found - {"hf-xet"}, "rows of packages that nothing asks for any more"


def test_switches_are_set_unless_the_user_has_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = [row.variable for row in ROWS if row.variable]
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(ONNX_RUNTIME, "0")
    switch_off()
    assert {variable: is_switched_off(variable) for variable in variables} == {
        variable: variable != ONNX_RUNTIME for variable in variables
    }


@pytest.mark.parametrize(
    ("value", "off"),
    [("1", True), (" True ", True), ("YES", True), ("on", True), ("y", True), ("0", False), ("", False)],
)
def test_values_that_users_set_mean_what_the_engine_makes_of_them(
    value: str, off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ONNX_RUNTIME, value)
    assert is_switched_off(ONNX_RUNTIME) is off
