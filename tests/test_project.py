"""What the project promises about itself: layers, sizes of tracked files, texts that stay true."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20


def tracked() -> list[Path]:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).exists()]


def test_imports_go_down_only() -> None:
    lint = Path(sys.executable).with_name("lint-imports.exe" if sys.platform == "win32" else "lint-imports")
    done = subprocess.run([str(lint)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_tracked_file_is_too_large() -> None:
    sizes = {path: path.stat().st_size for path in tracked()}
    assert not [str(p) for p, size in sizes.items() if size > 15 * MIB]
    assert sum(sizes.values()) <= 58 * MIB


def test_the_architecture_shows_every_room_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {line.split("`")[1].rstrip("/") for line in text.splitlines() if line.startswith("| `")}
    assert not [name for name in named if not (ROOT / name).exists()]
    rooms = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "studio").glob("*/**/__init__.py")}
    tabs = {room for room in rooms if room.startswith("studio/ui/")}  # one row tells of all of them
    assert rooms - tabs <= named


def test_only_rooms_stand_at_the_root() -> None:
    assert [path.name for path in (ROOT / "studio").glob("*.py")] == ["__init__.py"]


def test_every_layer_has_a_module_docstring() -> None:
    for path in (ROOT / "studio").rglob("*.py"):
        first = path.read_text(encoding="utf-8").lstrip()
        assert first.startswith(('"""', 'r"""')), f"{path.relative_to(ROOT)} does not say what it owns"


def calls_of(name: str) -> set[str]:
    """The modules of the studio that call a function of this name."""
    found = set()
    for path in (ROOT / "studio").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        if name in called:
            found.add(path.relative_to(ROOT).as_posix())
    return found


CATALOGUES = {"text.py", "chinese.py", "chinese_messages.py", "learn_texts.py"}  # texts and nothing else


def test_no_class_and_no_module_is_too_long_to_read() -> None:
    too_long = []
    for path in (ROOT / "studio").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name not in CATALOGUES and text.count("\n") > 400:
            too_long.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno >= 300:
                too_long.append(f"{path.name}: {node.name}")
    assert too_long == []


def test_one_place_starts_a_lane_and_one_calls_the_denoiser() -> None:
    # A figure of few steps is an answer between ticks, which is no job and has no place among the lanes.
    assert calls_of("start_lane") == {"studio/engine/executor.py", "studio/engine/viewer/few_steps.py"}
    assert calls_of("call_unet") == {"studio/diffusion/denoisers.py"}
    users = {p.name for p in (ROOT / "studio").rglob("*.py") if "DENOISERS[" in p.read_text(encoding="utf-8")}
    assert users == {"executor.py", "lane.py"}  # the one that calls, and who asks for its batch key
    assert len((ROOT / "studio/engine/worker.py").read_text(encoding="utf-8").splitlines()) < 150


def test_the_scheduler_needs_no_torch() -> None:
    command = "import studio.engine.scheduler, sys; print(sorted({'torch', 'diffusers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_no_file_holds_the_marks_of_a_merge() -> None:
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    texts = [path for path in tracked() if path.suffix in (".py", ".md", ".txt", ".toml", ".js", ".css", ".json")]
    assert [p.name for p in texts if any(line.startswith(marks) for line in p.read_text("utf-8").splitlines())] == []
