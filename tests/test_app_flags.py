"""A wrong flag costs one line that says what to do, before anything heavy is imported."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def app(*flags: str) -> subprocess.CompletedProcess[str]:
    """Run app.py with gradio and torch made unimportable: the checks must not need them."""
    blocked = "import sys; sys.modules['gradio'] = sys.modules['torch'] = None; import runpy; sys.argv = {argv!r}; "
    code = blocked.format(argv=["app.py", *flags]) + f"runpy.run_path({str(ROOT / 'app.py')!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--port", "0"], "a port is a number from 1 to 65535"),
        (["--port", "70000"], "a port is a number from 1 to 65535"),
        (["--share"], "no terminal to print your link on: set STUDIO_AUTH"),
        (["--host", "0.0.0.0"], "no terminal to print your link on: set STUDIO_AUTH"),
        (["--host", "192.168.1.5"], "no terminal to print your link on: set STUDIO_AUTH"),
        (["--name", "studio.example.org"], "no terminal to print your link on: set STUDIO_AUTH"),
        (["--name", "https://studio.example.org"], "give a host's name without https://"),
        (["--proxy", "studio.example.org"], "give an address or a network of addresses"),
        (["--frame-by", "http://example.org"], "give a site as https://name"),
        (["--frame-by", "https://example.org/page"], "give a site as https://name"),
        (["--share", "--public"], "choose one"),
        (["--ssl-cert", "app.py"], "give both files"),
        (["--ssl-cert", "/no/such.pem", "--ssl-key", "/no/such.key"], "there is no such file"),
        (["--ssl-cert", "app.py", "--ssl-key", "app.py"], "cannot be used with --ssl-key"),
        (["--share", "--ssl-cert", "app.py", "--ssl-key", "app.py"], "--share has https of its own"),
        (["--auth", "@/no/such/file"], "cannot be read"),
        (["--guest", "friends:password"], "needs one for yourself"),
        (["--auth", "ann"], "a name and a password with a colon"),
        (["--auth", "ann:"], "a name and a password with a colon"),
        (["--device", "gpu"], "choose auto, cpu, cuda"),
        (["--device", "cuda:x"], "choose auto, cpu, cuda"),
        (["--models-dir", "/no/such/folder"], "there is no such folder"),
        (["--library-dir", "/no/such/folder"], "there is no such folder"),
        (["--outputs-dir", "/no/such/folder/outputs"], "does not exist"),
    ],
)
def test_a_wrong_flag_is_one_line(flags: list[str], says: str) -> None:
    done = app(*flags)
    assert done.returncode != 0
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_a_file_with_a_password_must_be_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "auth"
    file.write_text("ann:secret\n")
    file.chmod(0o644)
    done = app("--share", "--auth", f"@{file}")
    assert "others can read" in done.stderr
    assert "chmod 600" in done.stderr
    assert "secret" not in done.stderr
    file.chmod(0o600)
    done = app("--share", "--auth", f"@{file}", "--port", "0")
    assert "a port is a number" in done.stderr
    file.write_text("no colon")
    assert "a name and a password with a colon" in app("--auth", f"@{file}").stderr


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = app("--port", str(port))
    assert done.returncode != 0
    assert f"Port {port} is in use" in done.stderr
    assert f"--port {port + 1}" in done.stderr


def test_a_port_taken_after_the_check_is_one_line(tmp_path: Path) -> None:
    """Two studios started in the same seconds: both find the port free, one gets it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        flags = ["--no-preload", "--port", str(port), "--outputs-dir", str(tmp_path)]
        code = f"import sys, app; sys.argv[1:] = {flags!r}; app.check = lambda flags: None; app.main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode != 0
    assert f"Port {port} is in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_outputs_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = app("--port", str(free_port()), "--outputs-dir", str(tmp_path / "outputs"))
    assert "cannot be made" in done.stderr


def test_help_names_every_flag_and_its_meaning() -> None:
    done = app("--help")
    assert done.returncode == 0
    for flag in ("--host", "--port", "--share", "--auth", "--models-dir", "--outputs-dir", "--device", "--dtype",
                 "--exact", "--no-preload"):  # fmt: skip
        assert flag in done.stdout
