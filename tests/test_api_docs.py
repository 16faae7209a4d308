"""The page for programs is held to the code: its examples run against the real studio, its tables are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from studio.answered.errors import STATUSES
from studio.web.api.operations import OPERATIONS
from tests.test_running import Studio

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    """The code of a language, one piece after the other."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the studio is, and a token of a guest's rights."""
    here = Studio(tmp_path_factory.mktemp("studio")).opened()
    try:
        made = httpx.post(f"{here.url}programs", json={"action": "make", "name": "examples"}, trust_env=False)
        yield {"STUDIO": here.url.rstrip("/"), "STUDIO_TOKEN": made.json()["token"]}
    finally:
        here.process.terminate()
        here.process.wait(60)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def settings(file: Path) -> dict[str, object]:
    with Image.open(file) as image:
        values = json.loads(next(text for text in image.text.values() if text.startswith("{")))  # type: ignore[attr-defined]
    return dict(values)


def test_the_example_in_python_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "example.py").write_text(example("python"), encoding="utf-8")
    said = run([sys.executable, "example.py"], tmp_path, environment)
    assert "step 8 of 8" in said
    assert "3 pictures" in said
    assert "422 [{'field': 'width', 'value': '65'" in said
    assert "small-world-128" in said
    assert said.splitlines()[-1].startswith("width: 65 is not allowed.")
    assert settings(tmp_path / "apple.png")["seed"] == 7


@pytest.mark.skipif(shutil.which("node") is None, reason="node")
def test_the_example_in_javascript_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "example.mjs").write_text(example("javascript"), encoding="utf-8")
    assert "fox.png, seed " in run(["node", "example.mjs"], tmp_path, environment)
    assert settings(tmp_path / "fox.png")["prompt"] == "a fox in the meadow"


@pytest.mark.skipif(shutil.which("curl") is None or os.name == "nt", reason="curl and a shell of POSIX")
def test_the_example_for_the_shell_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "example.sh").write_text(example("shell"), encoding="utf-8")
    run(["sh", "example.sh"], tmp_path, environment)
    assert settings(tmp_path / "star.png")["prompt"] == "a star in the night sky"


def test_the_tables_name_every_address_and_every_error() -> None:
    addresses = PAGE[PAGE.index("## Addresses") : PAGE.index("**Requests.**")]
    named = {
        (line.split("|")[1].strip(), path)
        for line in addresses.splitlines()
        for path in re.findall(r"`(/[\w/{}.]+)`", line)
        if line.startswith("| ")
    }
    assert named == {(one.method, one.path) for one in OPERATIONS}
    errors = dict(re.findall(r"^\| `(\w+)` \| (\d*) ?\|", PAGE, re.MULTILINE))
    assert {name: int(status or 200) for name, status in errors.items()} == dict(STATUSES)
