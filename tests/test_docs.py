"""The documents are held to the code: every tab, endpoint, flag, room and import is named, and what the README shows
runs."""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

import app
from studio.picture.gallery import Gallery
from studio.ui.page import build
from tests.test_running import Studio
from tests.ui.fake_engine import FakeEngine

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

# What a package is called where it is installed, when it is imported by another name.
INSTALLED_AS = {"PIL": "pillow"}
# In the requirements, and imported by no file of ours: what others need of them.
FOR_OTHERS = {
    "torchsde": "diffusers' DPM++ SDE",
    "socksio": "httpx, where the system has a SOCKS proxy",
    "accelerate": "diffusers and transformers",
    "pytest-timeout": "pytest",
    "pytest-xdist": "start.py",
    "ruff": "make check",
    "mypy": "make check",
    "import-linter": "make check",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> gr.Blocks:
    gallery = Gallery(tmp_path_factory.mktemp("outputs"))
    return build(FakeEngine(gallery), gallery)[0]


def endpoints(page: gr.Blocks) -> list[str]:
    page.config = page.get_config_file()
    return sorted(page.get_api_info()["named_endpoints"])


def test_the_readme_names_every_tab(page: gr.Blocks) -> None:
    tabs = [block.label for block in page.blocks.values() if isinstance(block, gr.Tab)]
    assert len(tabs) >= 6
    assert [label for label in tabs if f"| **{label}** |" not in README] == []


def test_the_readme_has_an_example_of_every_endpoint_and_of_no_other(page: gr.Blocks) -> None:
    named = set(re.findall(r'api_name="(/\w+)"', README))
    assert named == set(endpoints(page))
    assert len(named) >= 6


def test_the_readme_names_every_flag_and_no_other() -> None:
    flags = {word for action in app.parser()._actions for word in action.option_strings if word.startswith("--")}
    section = README[README.index("## Flags") : README.index("## Test")]
    assert set(re.findall(r"--[a-z][a-z0-9-]+", section)) == flags  # --help stands above the table


def test_every_room_is_in_readme_and_architecture() -> None:
    rooms = sorted(path.parent.name for path in (ROOT / "studio").glob("*/__init__.py"))
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in rooms:
        assert f"      {room}/ " in README, room
        assert f"`studio/{room}/`" in architecture, room
    folders = [f for f in ("training", "models", "tests", "benchmarks", "docs", "deploy") if f"    {f}/ " not in README]
    assert folders == []


def test_every_promise_of_safety_names_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "test" in line][1:]
    assert len(rows) >= 12
    for row in rows:
        folder = sources = ""
        for name in re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)`", row):
            folder = name.rpartition("/")[0] or folder
            file = ROOT / folder / name.rpartition("/")[2]
            assert file.is_file(), row
            sources += file.read_text(encoding="utf-8")
        assert folder, row
        assert [name for name in re.findall(r"`(test_\w+)`", row) if f"def {name}(" not in sources] == []


def test_every_fault_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [re.match(r"\| ([0-9, ]+) \|", line) for line in text.splitlines()]
    numbers = [int(number) for row in rows if row for number in row[1].split(",")]
    assert sorted(numbers) == list(range(1, 71))
    for file, name in re.findall(r"`([\w/]+): (\w+)`", text):
        path = ROOT / "tests" / Path(file).parent / f"test_{Path(file).name}.py"
        assert path.is_file(), file
        assert re.search(rf"def test_{name}\(", path.read_text(encoding="utf-8")), f"{file}: {name}"


def test_every_document_is_named_in_the_readme() -> None:
    assert [p.name for p in DOCUMENTS[1:] if p.name not in README] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_are_there(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert missing == []


def test_the_first_pictures_are_small() -> None:
    pictures = [ROOT / "docs" / "images" / name for name in ("film.webp", "noise-viewer.webp", "compare.webp")]
    assert all(f"images/{path.name}" in README for path in pictures)
    assert pictures[0].stat().st_size < 10**6
    assert sum(path.stat().st_size for path in pictures) < 1.5e6


def test_every_command_that_a_document_names_is_there() -> None:
    for document in (*DOCUMENTS, ROOT / "training" / "README.md"):
        text = document.read_text(encoding="utf-8")
        for module in re.findall(r"python3? -m ((?:training|benchmarks|tests)\.[\w.]+)", text):
            assert (ROOT / (module.replace(".", "/") + ".py")).exists(), f"{document.name}: {module}"
        for script in re.findall(r"python3? ((?:benchmarks|training)/[\w/]+\.py)", text):
            assert (ROOT / script).exists(), f"{document.name}: {script}"
        for target in re.findall(r"`make ([a-z-]+)`", text):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (
                f"{document.name}: {target}"
            )


def imports(*patterns: str) -> dict[str, str]:
    """Packages of others that files of these patterns import, each with one such file."""
    found: dict[str, str] = {}
    own = {"studio", "training", "tests", "benchmarks", "deploy", "app", "start"}
    for path in (path for pattern in patterns for path in sorted(ROOT.glob(pattern))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in (name.partition(".")[0] for name in names):
                if name not in own and name not in sys.stdlib_module_names:
                    found.setdefault(INSTALLED_AS.get(name, name), str(path.relative_to(ROOT)))
    return found


def requirements(file: str) -> dict[str, str]:
    """Names, as they are imported, and the whole lines."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.strip() and not line.startswith(("#", "-r"))]
    return {re.split(r"[=<>~ #]", row)[0]: row for row in rows}


def spelled(names: dict[str, str]) -> set[str]:
    return {name.lower().replace("-", "_") for name in names}


def test_the_requirements_name_every_package_that_is_imported() -> None:
    always = spelled(requirements("requirements.txt"))
    with_flags = spelled(requirements("requirements-mcp.txt"))
    for_training = spelled(requirements("training/requirements.txt"))
    needed = imports("app.py", "studio/**/*.py", "training/**/*.py")
    not_there = {name: file for name, file in needed.items() if name.lower() not in always | with_flags}
    # What only the drawing of data needs is no requirement of the studio's.
    assert {name: file for name, file in not_there.items() if name not in for_training} == {}
    assert {file for file in not_there.values() if not file.startswith("training/")} == set()
    assert set(not_there) == for_training
    elsewhere = {name: file for name, file in needed.items() if name.lower() in with_flags}
    assert [name for name, file in elsewhere.items() if not file.startswith("studio/web/mcp/")] == []
    named = always | with_flags | spelled(requirements("requirements-dev.txt"))
    everything = imports("tests/**/*.py", "benchmarks/**/*.py")
    assert {name: file for name, file in everything.items() if name.lower() not in named} == {}


def test_the_requirements_name_nothing_else_are_pinned_and_say_what_for() -> None:
    ours = ("*.py", *(f"{room}/**/*.py" for room in ("studio", "training", "tests", "benchmarks", "deploy")))
    used = {name.lower() for name in imports(*ours)} | {name.replace("-", "_") for name in FOR_OTHERS}
    for file in ("requirements.txt", "requirements-dev.txt"):
        assert spelled(requirements(file)) - used == set()
    for name, row in {
        **requirements("requirements.txt"),
        **requirements("requirements-mcp.txt"),
        **requirements("training/requirements.txt"),
    }.items():
        assert re.match(rf"{re.escape(name)}==[\w.]+ +# \w", row), row


def examples(text: str) -> Iterator[str]:
    """The blocks of Python that call the studio."""
    for block in re.findall(r"(?:^(?:    .*)?\n)+", text, re.MULTILINE):
        code = textwrap.dedent(block).strip("\n")
        if "gradio_client" in code and "import" in code:
            yield code


def test_the_readmes_examples_run_and_ask_for_what_the_model_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = examples(README)
    compile(code, "README.md", "exec")
    known = set(re.findall(r"[a-z]+", (ROOT / "models/small-world-128/world.json").read_text(encoding="utf-8").lower()))
    asked = re.findall(r'prompt="([^"]+)"', code)
    assert len(asked) >= 4
    for prompt in asked:
        assert set(prompt.split()) - {"a", "in", "the", "on", "of"} <= known, prompt
    here = Studio(tmp_path).opened()
    try:
        monkeypatch.chdir(tmp_path)
        assert '"http://127.0.0.1:7860"' in code
        space: dict[str, object] = {}
        exec(code.replace("http://127.0.0.1:7860", here.url), space)
        assert [m["name"] for m in json.loads(json.dumps(space["models"])) if m["kind"] == "checkpoint"]
        assert len(space["files"]) == 1  # type: ignore[arg-type]
        assert space["info"]["state"] == "finished"  # type: ignore[index]
    finally:
        here.process.terminate()
        here.process.wait(60)
