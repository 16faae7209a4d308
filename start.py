#!/usr/bin/env python3
"""Latent Studio in one command. Standard library only: any Python from 3.11 on runs it, on Linux, macOS and Windows.

python3 start.py [flags of app.py]    make the environment, install the packages, open the studio
python3 start.py --torch BUILD ...    the same with another build of PyTorch (cpu, cu126, cu130, rocm or xpu), which
                                      is then kept
python3 start.py test [pytest args]   the same for the tests, browser tests included
python3 start.py setup                make the developer's environment and stop (used by the Makefile)
python3 start.py scripts [--write]    check the form of the page's scripts and styles, or mend it (needs node)
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
OLDEST_PYTHON = (3, 11)
PYTORCH_INDEX = "https://download.pytorch.org/whl/"
# Fetched bytes, rounded up, measured with the pinned versions: PyTorch by kind of build, then everything else.
# Those of rocm and xpu are estimates: neither has been tried.
PYTORCH_MEGABYTES = {"cpu": 220, "cuda": 2900, "mac": 110, "rocm": 5000, "xpu": 3000}
# The folders of PyTorch's index by what `--torch` takes; of several the first that has the pinned version.
BUILDS = {
    "cpu": ("cpu",),
    "cu126": ("cu126",),
    "cu130": ("cu130",),
    "rocm": ("rocm7.2", "rocm7.1", "rocm7.0", "rocm6.4"),
    "xpu": ("xpu",),
}
OTHER_MEGABYTES = {"requirements.txt": 260, "requirements-dev.txt": 340}
TESTS_FAILED = 1  # pytest's exit status when it ran to its end and a test failed
# Engines that the browser tests run in besides Chromium: a command, and the Debian package that brings it.
OTHER_ENGINES = {
    "Firefox": {"firefox-esr": "firefox-esr"},
    "WebKit": {"WebKitWebDriver": "webkit2gtk-driver", "Xvfb": "xvfb"},
}


class Trouble(Exception):
    """Something the person has to do; printed as it is, without a traceback."""


def main(arguments: Sequence[str]) -> int:
    try:
        torch_build, arguments = take_torch(arguments)
        word, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
        if sys.version_info < OLDEST_PYTHON:
            raise Trouble(f"Python {platform.python_version()} is too old: install 3.11 or newer and run it with that.")
        if word == "setup":
            make_environment("requirements-dev.txt", torch_build)
            return 0
        if word == "scripts":
            return check_scripts(rest)
        if word == "test":
            make_environment("requirements-dev.txt", torch_build)
            return run_tests(rest)
        if not set(arguments) & {"-h", "--help"}:
            make_environment("requirements.txt", torch_build)
        else:
            print(f"{__doc__.partition(chr(10) * 2)[2]}\nThe flags of app.py:\n", flush=True)
        if set(arguments) & {"-h", "--help"} and not environment_python().exists():  # help needs no packages
            return run([sys.executable, str(ROOT / "app.py"), *arguments])
        return run([str(environment_python()), str(ROOT / "app.py"), *arguments])
    except Trouble as trouble:
        print(f"\n{trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


# --------------------------------------------------------------------------------------------- the environment


def environment_python() -> Path:
    """The environment's own interpreter."""
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def take_torch(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The build that `--torch` names, None without it, and the arguments that are left."""
    others, torch_build = list(arguments), None
    for k, word in enumerate(arguments):
        if word == "--torch" or word.startswith("--torch="):
            value = word.partition("=")[2] if "=" in word else "".join(arguments[k + 1 : k + 2])
            if value not in BUILDS:
                raise Trouble(f"--torch {value or '(nothing)'}: choose {', '.join(BUILDS)}.")
            torch_build = value
            del others[k : k + (1 if "=" in word else 2)]
            break
    return torch_build, others


def make_environment(requirements: str, torch_build: str | None = None) -> None:
    """Make `.venv` and install `requirements` into it, unless a complete run left its mark. `torch_build`: a
    build of PyTorch that was asked for; it stays until another is."""
    mark, build_file = ENVIRONMENT / f".installed-{requirements}", ENVIRONMENT / ".torch-build"
    before = build_file.read_text(encoding="utf-8") if build_file.exists() else None
    torch_build = torch_build or before
    mark_text = fingerprint(requirements) + (torch_build or "")
    if environment_python().exists() and mark.exists() and mark.read_text(encoding="utf-8") == mark_text:
        return
    if not pip_works():
        create_environment()
    index, build = chosen_source(torch_build) if torch_build else pytorch_source()
    say_how_much(requirements, build)
    install(requirements, index, replace=torch_build != before)
    mark.write_text(mark_text, encoding="utf-8")
    if torch_build:
        build_file.write_text(torch_build, encoding="utf-8")


def fingerprint(requirements: str) -> str:
    """Changes when a requirement or the interpreter does; then the environment is brought up to date."""
    names = dict.fromkeys(("requirements.txt", "requirements-mcp.txt", requirements))
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in names]
    return hashlib.sha256("\n".join([*texts, platform.python_version()]).encode()).hexdigest()


def pip_works() -> bool:
    """True when `.venv` is whole; a run that was cut short, or a Debian without python3-venv, leaves half of one."""
    python = environment_python()
    return python.exists() and quiet([str(python), "-m", "pip", "--version"])


def create_environment() -> None:
    """`.venv`, anew. On Debian, where the system's Python comes without ensurepip, as root install what is missing."""
    print(f"Making the environment in {ENVIRONMENT.name} ...", flush=True)
    create = [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)]
    if quiet(create) and pip_works():
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if not shutil.which("apt-get"):
        raise Trouble(f"Python could not make an environment. Try:  {' '.join(create)}  and read what it says.")
    if not is_root():
        raise Trouble(f"This Python lacks its venv module. Install it and start again:  sudo apt install {package}")
    apt_install(package)
    if not (quiet(create) and pip_works()):
        raise Trouble(f"The environment could not be made. Try:  {' '.join(create)}  and read what it says.")


def pytorch_source() -> tuple[str | None, str]:
    """(index to take PyTorch from, or None for the package registry; kind of build: "cpu", "cuda" or "mac").

    The registry's Linux build brings CUDA (gigabytes), its Windows build never does: both are wrong for half of the
    people, so PyTorch's own index is asked first, and the registry is good enough where that does not answer.
    """
    if sys.platform == "darwin":
        return None, "mac"
    gpu = has_nvidia_gpu()
    if gpu and sys.platform != "win32":
        return None, "cuda"
    index = PYTORCH_INDEX + ("cu130" if gpu else "cpu")
    if answers(index + "/torch/"):
        return index, "cuda" if gpu else "cpu"
    if sys.platform == "win32" or local_wheels():
        return None, "cpu"
    return None, "cuda"


def chosen_source(torch_build: str) -> tuple[str, str]:
    """(index, kind of build) of a build that was asked for by name."""
    version = torch_pin().partition("==")[2]
    for folder in BUILDS[torch_build]:
        if offers(f"{PYTORCH_INDEX}{folder}/torch/", version):
            return PYTORCH_INDEX + folder, "cuda" if torch_build.startswith("cu") else torch_build
    raise Trouble(
        f"PyTorch's index has no build {torch_build} of version {version}, or cannot be reached: {PYTORCH_INDEX}"
    )


def offers(url: str, version: str) -> bool:
    """Whether a page of an index lists a wheel of this version."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return bool(
                re.search(rf"torch-{re.escape(version)}(%2B|\+|-)", answer.read(2**24).decode("utf-8", "replace"))
            )
    except (OSError, ValueError):
        return False


def torch_pin() -> str:
    """The requirement of PyTorch, such as torch==2.13.0."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return next(line.split("#")[0].strip() for line in lines if line.startswith("torch=="))


def has_nvidia_gpu() -> bool:
    """Whether NVIDIA's driver is here and sees a GPU."""
    return bool(shutil.which("nvidia-smi")) and quiet(["nvidia-smi", "-L"])


def answers(url: str) -> bool:
    """Whether an index answers within five seconds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def local_wheels() -> bool:
    """Whether pip was told of a folder that holds a PyTorch wheel of this machine's own choice."""
    return any(any(Path(folder).glob("torch-*.whl")) for folder in os.environ.get("PIP_FIND_LINKS", "").split())


def say_how_much(requirements: str, build: str) -> None:
    megabytes = PYTORCH_MEGABYTES[build] + OTHER_MEGABYTES[requirements]
    free = shutil.disk_usage(ROOT).free // 2**20
    what = (
        "PyTorch "
        + {
            "cpu": "for the CPU",
            "mac": "for the Mac",
            "cuda": "with CUDA",
            "rocm": "for AMD GPUs",
            "xpu": "for Intel GPUs",
        }[build]
    )
    size = f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"
    print(f"Installing the packages: about {size} to fetch the first time ({what} and the rest).", flush=True)
    if free < 4 * megabytes:
        raise Trouble(
            f"Only {free} MB are free on this disk, {4 * megabytes} MB are needed: make room and start again."
        )


def install(requirements: str, index: str | None, *, replace: bool = False) -> None:
    """pip, quietly but not silently. PyTorch first where it comes from an index of its own; `replace` where another
    build of the same version may be there, which pip takes for the same."""
    pip = [str(environment_python()), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    steps = [[*pip, "-r", str(ROOT / requirements)]]
    if index:
        again = ["--force-reinstall"] if replace else []
        steps.insert(0, [*pip, *again, torch_pin(), "--index-url", index])
    for step in steps:
        if run(with_quiet(step)) != 0:
            raise Trouble("The packages could not be installed; pip says above why. Start again to go on from here.")


def with_quiet(command: list[str]) -> list[str]:
    """pip's warnings and errors, not its list of files, unless STUDIO_VERBOSE asks for all of it."""
    return command if os.environ.get("STUDIO_VERBOSE") else [*command, "--quiet"]


# ------------------------------------------------------------------------------------------------- the browser


def run_tests(arguments: list[str]) -> int:
    """pytest with these arguments; without any, everything not marked slow or gpu, browser tests included, in two
    parts. Returns the exit status of the first part that did not pass, else 0."""
    browser = find_browser() or get_browser()
    get_other_engines()
    environment = dict(os.environ)
    if browser:
        environment["STUDIO_CHROMIUM"] = browser
    pytest = [str(environment_python()), "-m", "pytest"]
    if arguments:
        return run([*pytest, *arguments], environment)
    outcomes: dict[str, int] = {}
    for part, options in parts_of_the_suite(os.cpu_count() or 1).items():
        outcomes[part] = run([*pytest, *options], environment)
        if outcomes[part] not in (0, TESTS_FAILED):  # it was ended, or never began
            break
    print("\nThe suite: " + ", ".join(map(sentence_of, outcomes, outcomes.values())) + ".", flush=True)
    return next((status for status in outcomes.values() if status), 0)


def parts_of_the_suite(cores: int) -> dict[str, list[str]]:
    """pytest's options for each part. First what may run beside other tests, in as many processes as there are cores
    (at most four: each needs about 2 GB and a browser), a file always in one of them and the browser's files last,
    see tests/conftest.py. Then what needs the machine for itself."""
    processes = ["-n", str(min(cores, 4)), "--dist", "loadfile", "--no-loadscope-reorder"] if cores > 1 else []
    return {
        "tests side by side": [*processes, "-m", "not slow and not gpu and not alone"],
        "tests one at a time": ["-m", "not slow and not gpu and alone"],
    }


def sentence_of(part: str, status: int) -> str:
    """What a part of the suite said."""
    if status == 0:
        return f"{part} passed"
    return f"{part} failed" if status == TESTS_FAILED else f"{part} ended with status {status}"


def find_browser() -> str | None:
    """A Chromium that is already here, or None."""
    path_text = os.environ.get("STUDIO_CHROMIUM")
    if path_text:
        if not Path(path_text).exists():
            raise Trouble(f"STUDIO_CHROMIUM names {path_text}, which is not there.")
        return path_text
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
    return next((path for path in map(shutil.which, names) if path), None)


def get_browser() -> str | None:
    """Install one: Debian's as root, else Playwright's own (then None: Playwright knows where it put it)."""
    if shutil.which("apt-get") and is_root():
        apt_install("chromium")
        return find_browser()
    print("Fetching a browser for the tests (Playwright's Chromium, about 180 MB) ...", flush=True)
    if run([str(environment_python()), "-m", "playwright", "install", "chromium"]) == 0:
        return None
    raise Trouble(
        "The browser tests need Chromium and it could not be fetched. Install it (Debian: sudo apt install chromium), "
        "or name one in the environment variable STUDIO_CHROMIUM, or leave those tests out: "
        'python3 start.py test -m "not slow and not gpu and not browser"'
    )


def get_other_engines() -> None:
    """What the tour of tests/browser needs for Firefox and WebKit: Debian's packages as root, and npm's where node is.
    An engine that cannot be had is left out, and said."""
    for engine, packages in OTHER_ENGINES.items():
        missing = [package for command, package in packages.items() if not shutil.which(command)]
        if missing and shutil.which("apt-get") and is_root():
            try:
                apt_install(*missing)
            except Trouble as trouble:
                print(trouble, flush=True)
        still = [package for command, package in packages.items() if not shutil.which(command)]
        if still:
            print(f"{engine} is left out of the browser tests: {', '.join(still)} is not installed.", flush=True)
    if not get_node_tools():
        print(
            "Firefox is left out of the browser tests: its driver needs node and npm (version 18 or newer).", flush=True
        )


def get_node_tools() -> bool:
    """The pinned tools of package.json: the formatter of the page's scripts, and the driver of Firefox. False where
    there is no node, or npm could not fetch them."""
    if (ROOT / "node_modules" / "puppeteer-core").is_dir():
        return True
    npm = shutil.which("npm")
    if not npm:
        return False
    print("Fetching the tools of package.json (about 60 MB) ...", flush=True)
    return run([npm, "ci", "--no-audit", "--no-fund", "--prefix", str(ROOT)]) == 0


def check_scripts(arguments: Sequence[str]) -> int:
    """Biome on the page's scripts and styles (biome.json). Where there is no node it is skipped, and said."""
    if not get_node_tools():
        print("The page's scripts are not checked: that needs node and npm (version 18 or newer).", flush=True)
        return 0
    biome = ROOT / "node_modules" / "@biomejs" / "biome" / "bin" / "biome"
    return run(["node", str(biome), "check", *arguments])


# -------------------------------------------------------------------------------------------- small operations


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def apt_install(*packages: str) -> None:
    """Debian's package manager, as root, without questions."""
    names = ", ".join(packages)
    print(f"Installing Debian's {names} ...", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Trouble(
            f"{result.stdout[-1500:]}{result.stderr[-1500:]}\napt-get could not install {names}; it says above why."
        )


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> int:
    """Run to the end and wait for its own goodbye: Ctrl+C the child gets from the terminal too, a termination signal
    is passed on to it."""
    process = subprocess.Popen(list(command), cwd=None, env=environment)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def quiet(command: Sequence[str]) -> bool:
    """Whether a command succeeds; what it prints does not matter."""
    try:
        return subprocess.run(list(command), capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
