"""The measurements for a large GPU: every part runs, at tiny sizes on the CPU, and may be cut."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu_ideas, gpu_models, gpu_parts, on_gpu
from benchmarks.gpu_report import Report
from tests.tiny import save_tiny_checkpoint

ROOT = Path(__file__).parents[2]


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_a_part_that_is_cut_leaves_its_figures(tmp_path: Path) -> None:
    figures = tmp_path / "parts" / "slow.json"
    Report(figures).add(ratio=0.7)
    result = on_gpu.run(python("import time; time.sleep(60)"), tmp_path, "slow", limit=0.3)
    assert result["ended"] == "cut after 0 s"
    assert result["figures"] == {"ratio": 0.7}
    assert result["seconds"] < 10


def test_a_part_that_fails_says_why(tmp_path: Path) -> None:
    result = on_gpu.run(python("raise SystemExit('no such GPU')"), tmp_path, "broken", limit=20)
    assert result["ended"] == "failed with 1"
    assert result["last_lines"] == ["no such GPU"]
    assert "figures" not in result


def test_parts_that_have_no_time_left_are_not_begun(tmp_path: Path) -> None:
    on_gpu.main(["--work", str(tmp_path), "--seconds", "3", "--parts", "load", "graphs"])
    parts = json.loads((tmp_path / "on_gpu.json").read_text(encoding="utf-8"))
    assert [part["ended"] for part in parts.values()] == ["not begun: 3 s were left"] * 2


def test_every_part_has_a_limit_and_all_of_them_fit_into_a_quarter_of_an_hour() -> None:
    assert list(gpu_parts.PARTS) == list(on_gpu.LIMITS)
    assert sum(on_gpu.LIMITS.values()) <= 1000


def test_ideas_are_measured_on_the_bare_networks(tmp_path: Path) -> None:
    save_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "sd15")
    setting = gpu_ideas.Setting(tmp_path / "models", tmp_path / "scratch", torch.device("cpu"), gpu_models.TINY)
    for part in (gpu_ideas.graphs, gpu_ideas.decode_beside):
        part(setting, Report(tmp_path / f"{part.__name__}.json"))
    figures = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("*.json")}
    assert figures["graphs"]["left_out"] == "this device has no CUDA graphs"
    assert figures["graphs"]["seconds"]["2"] > 0
    assert figures["decode_beside"]["has_streams"] is False
    assert set(figures["decode_beside"]["beside"]["2"]["ratio_to_in_turn"]) == {
        "second_stream",
        "second_stream_own_thread",
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_part_gives_its_figures_on_a_cpu(tmp_path: Path) -> None:
    command = ["bash", "benchmarks/on_gpu.sh", "--tiny", "--device", "cpu", "--seconds", "3000", "--slower", "10"]
    environment = on_gpu.environment() | {"WORK": str(tmp_path), "PYTHON": sys.executable, "WHEELS": str(tmp_path)}
    environment.pop("OUT", None)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    parts: dict[str, Any] = json.loads((tmp_path / "on_gpu.json").read_text(encoding="utf-8"))
    assert {name: (part["ended"], part.get("last_lines")) for name, part in parts.items()} == dict.fromkeys(
        on_gpu.LIMITS, ("whole", None)
    )
    figures = {name: part["figures"] for name, part in parts.items()}
    assert figures["picture_sd15"]["automatic"]["ratio"] > 0
    assert figures["picture_sdxl"]["size"] == "64x64"
    assert figures["visitors"]["times_as_fast"] > 0
    assert figures["load"]["sd15_file"]["ratio_to_raw"] > 0
    assert [picture["checkpoint"] for picture in figures["switches"]["pictures"]] == ["sd15", "sdxl"] * 2 + ["sd15"]
    assert figures["comparison"]["ratio"] > 0
    assert set(figures["formats"]["sdxl"]["ratio"]) == {
        "float32",
        "float32, channels-last",
        "bfloat16, channels-last",
        "bfloat16",
    }
    assert figures["compiled"]["compiled"]["2"]["ratio"] > 0
    assert not (tmp_path / "scratch").exists() or not any((tmp_path / "scratch").iterdir())
