"""start.py decides before it installs: every decision is tested with the machine faked, nothing is fetched."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest

import start

BY_FILE = "--dist loadfile --no-loadscope-reorder"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """A machine without environment, browser, GPU or network; returns the list of commands start.py ran."""
    ran: list[list[str]] = []
    monkeypatch.setattr(start, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(start, "quiet", lambda command: ran.append(list(command)) or True)
    monkeypatch.setattr(start, "run", lambda command, environment=None: ran.append(list(command)) or 0)
    monkeypatch.setattr(start, "apt_install", lambda *packages: ran.append(["apt-get", "install", *packages]))
    monkeypatch.setattr(start, "answers", lambda url: False)
    monkeypatch.setattr(start.shutil, "which", lambda name: None)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("STUDIO_CHROMIUM", raising=False)
    return ran


def make_python(environment: Path) -> None:
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python.parent.mkdir(parents=True)
    python.touch()


def test_it_needs_the_standard_library_only() -> None:
    tree = ast.parse(Path(start.__file__).read_text(encoding="utf-8"))
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names <= set(sys.stdlib_module_names)


def test_without_a_gpu_pytorch_comes_from_its_cpu_index_when_that_answers(
    machine: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(start, "answers", lambda url: url == "https://download.pytorch.org/whl/cpu/torch/")
    assert start.pytorch_source() == ("https://download.pytorch.org/whl/cpu", "cpu")


def test_where_the_index_does_not_answer_the_registry_will_do(
    machine: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert start.pytorch_source() == (None, "cuda")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert start.pytorch_source() == (None, "mac")


def test_with_a_gpu_linux_takes_the_registry_and_windows_the_cuda_index(
    machine: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(start, "answers", lambda url: True)
    monkeypatch.setattr(sys, "platform", "linux")
    assert start.pytorch_source() == (None, "cuda")
    monkeypatch.setattr(sys, "platform", "win32")
    assert start.pytorch_source() == ("https://download.pytorch.org/whl/cu130", "cuda")


def test_the_size_is_said_before_anything_is_fetched(
    machine: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    make_python(start.ENVIRONMENT)
    start.make_environment("requirements.txt")
    assert "GB to fetch the first time (PyTorch" in capsys.readouterr().out
    assert any("install" in command for command in machine)
    machine.clear()
    start.make_environment("requirements.txt")  # the second start finds the mark and does nothing
    assert machine == []


def test_a_changed_requirement_installs_again(machine: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    make_python(start.ENVIRONMENT)
    start.make_environment("requirements.txt")
    machine.clear()
    monkeypatch.setattr(start, "fingerprint", lambda requirements: "another")
    start.make_environment("requirements.txt")
    assert any("install" in command for command in machine)


def test_a_full_disk_is_said_beforehand(machine: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 100 * 2**20})()
    monkeypatch.setattr(start.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(start.Trouble, match="Only 100 MB are free"):
        start.say_how_much("requirements.txt", "cpu")


def test_a_debian_without_venv_is_mended_as_root_or_told_the_one_line(
    machine: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "quiet", lambda command: False)
    monkeypatch.setattr(start.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(start, "is_root", lambda: False)
    with pytest.raises(start.Trouble, match=r"sudo apt install python3\.\d+-venv"):
        start.create_environment()
    monkeypatch.setattr(start, "is_root", lambda: True)
    with pytest.raises(start.Trouble, match="could not be made"):
        start.create_environment()
    assert any(c[:2] == ["apt-get", "install"] and c[-1].endswith("-venv") for c in machine)


def test_without_any_browser_the_message_says_three_ways_out(
    machine: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "run", lambda command, environment=None: 1)
    with pytest.raises(start.Trouble, match="STUDIO_CHROMIUM"):
        start.get_browser()


def test_an_engine_that_cannot_be_had_is_named(
    machine: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(start, "ROOT", tmp_path)
    monkeypatch.setattr(start.shutil, "which", lambda name: "/usr/bin/Xvfb" if name == "Xvfb" else None)
    start.get_other_engines()
    said = capsys.readouterr().out
    assert "Firefox is left out of the browser tests: firefox-esr is not installed." in said
    assert "WebKit is left out of the browser tests: webkit2gtk-driver is not installed." in said
    assert "its driver needs node" in said
    assert start.check_scripts([]) == 0
    assert "The page's scripts are not checked" in capsys.readouterr().out
    assert machine == []


def test_debian_installs_the_other_engines_as_root(machine: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"apt-get": "/usr/bin/apt-get", "Xvfb": "/usr/bin/Xvfb"}
    monkeypatch.setattr(start.shutil, "which", here.get)
    monkeypatch.setattr(start, "is_root", lambda: True)
    start.get_other_engines()
    installed = [command[2:] for command in machine if command[:2] == ["apt-get", "install"]]
    assert installed == [["firefox-esr"], ["webkit2gtk-driver"]]


def test_trouble_is_one_line_and_no_traceback(
    machine: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(requirements: str, chosen: str | None) -> None:
        raise start.Trouble("Do this and that.")

    monkeypatch.setattr(start, "make_environment", fail)
    assert start.main([]) == 1
    assert capsys.readouterr().err.strip() == "Do this and that."


def suite(monkeypatch: pytest.MonkeyPatch, cores: int, statuses: list[int], *arguments: str) -> tuple[list[str], int]:
    """The arguments of each pytest that `start.py test` runs on a machine of so many cores, and its exit status.
    `statuses`: what pytest ends with, in order."""
    ran: list[str] = []

    def run(command: list[str], environment: dict[str, str]) -> int:
        assert command[1:3] == ["-m", "pytest"]
        ran.append(" ".join(command[3:]))
        return statuses[len(ran) - 1]

    monkeypatch.setattr(start, "make_environment", lambda requirements, chosen: None)
    monkeypatch.setattr(start, "find_browser", lambda: "/usr/bin/chromium")
    monkeypatch.setattr(start, "get_other_engines", lambda: None)
    monkeypatch.setattr(start.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(start, "run", run)
    return ran, start.main(["test", *arguments])


@pytest.mark.parametrize(("cores", "processes"), [(1, ""), (2, f"-n 2 {BY_FILE} "), (64, f"-n 4 {BY_FILE} ")])
def test_the_suite_runs_in_two_parts(monkeypatch: pytest.MonkeyPatch, cores: int, processes: str) -> None:
    assert suite(monkeypatch, cores, [0, 0]) == (
        [
            f"{processes}-m not slow and not gpu and not alone",
            "-m not slow and not gpu and alone",
        ],
        0,
    )


def test_arguments_for_pytest_go_to_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert suite(monkeypatch, 2, [5], "tests/x.py", "-k", "fox") == (["tests/x.py -k fox"], 5)


@pytest.mark.parametrize(
    ("statuses", "status", "said"),
    [
        ([0, 0], 0, "tests side by side passed, tests one at a time passed."),
        ([1, 0], 1, "tests side by side failed, tests one at a time passed."),
        ([0, 1], 1, "tests side by side passed, tests one at a time failed."),
        ([2], 2, "tests side by side ended with status 2."),  # the person ended it: no second part
        ([1, 4], 1, "tests side by side failed, tests one at a time ended with status 4."),
    ],
)
def test_the_suite_passes_if_both_parts_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], statuses: list[int], status: int, said: str
) -> None:
    ran, ended_with = suite(monkeypatch, 2, statuses)
    assert (len(ran), ended_with) == (len(statuses), status)
    assert capsys.readouterr().out.strip() == f"The suite: {said}"


def test_flags_reach_the_app(machine: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "make_environment", lambda requirements, chosen: None)
    assert start.main(["--port", "7999"]) == 0
    assert machine[-1][1:] == [str(start.ROOT / "app.py"), "--port", "7999"]


@pytest.mark.parametrize(
    ("arguments", "build", "left"),
    [
        (["--torch", "rocm", "--port", "1"], "rocm", ["--port", "1"]),
        (["--torch=cu126"], "cu126", []),
        (["test", "--torch", "xpu", "-k", "x"], "xpu", ["test", "-k", "x"]),
        (["--port", "1"], None, ["--port", "1"]),
    ],
)
def test_a_build_of_pytorch_is_asked_for_by_name(arguments: list[str], build: str | None, left: list[str]) -> None:
    assert start.take_torch(arguments) == (build, left)


@pytest.mark.parametrize("arguments", [["--torch"], ["--torch", "cuda"], ["--torch="], ["--torch", "--port"]])
def test_another_build_is_refused_with_those_there_are(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start.main(arguments) == 1
    assert "choose cpu, cu126, cu130, rocm, xpu." in capsys.readouterr().err


@pytest.mark.parametrize("build", ["cpu", "cu126", "cu130", "rocm", "xpu"])
def test_the_named_build_replaces_the_installed_one_and_stays(
    machine: list[list[str]], monkeypatch: pytest.MonkeyPatch, build: str
) -> None:
    version = start.torch_pin().partition("==")[2]
    monkeypatch.setattr(start, "offers", lambda url, wanted: wanted == version and "rocm7.2" not in url)
    make_python(start.ENVIRONMENT)
    start.make_environment("requirements.txt")
    machine.clear()
    start.make_environment("requirements.txt", build)
    torch = next(command for command in machine if "--index-url" in command)
    folder = "rocm7.1" if build == "rocm" else build
    assert torch[torch.index("--index-url") + 1] == f"https://download.pytorch.org/whl/{folder}"
    assert "--force-reinstall" in torch  # pip takes two builds of a version for the same
    machine.clear()
    start.make_environment("requirements.txt")
    assert machine == []  # it is kept without being named again
    monkeypatch.setattr(start, "fingerprint", lambda requirements: "another")
    start.make_environment("requirements.txt")
    torch = next(command for command in machine if "--index-url" in command)
    assert torch[-1].endswith(folder) or folder in torch[torch.index("--index-url") + 1]
    assert "--force-reinstall" not in torch


def test_a_build_that_is_not_offered_is_said(machine: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "offers", lambda url, version: False)
    make_python(start.ENVIRONMENT)
    with pytest.raises(start.Trouble, match="no build xpu of version"):
        start.make_environment("requirements.txt", "xpu")
