"""Names of devices, their errors in one sentence, and what the CPU says of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from studio.engine import device as device_module
from studio.engine.device import Device, check_dtype, check_name, usable_cores


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_known_names_pass(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:0\n", "xpu", None, 0])
def test_other_names_are_refused_with_those_there_are(name: object) -> None:
    with pytest.raises(ValueError, match=r"^device: .* is not allowed\. Allowed: auto, cpu, cuda"):
        check_name(name)  # type: ignore[arg-type]


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^dtype: 'int8' is not allowed\. Allowed: auto, fp32, fp16, bf16\.$"):
        check_dtype("int8")


def test_checking_a_name_needs_no_torch() -> None:
    code = (
        "import sys; from studio.engine.device import check_name; check_name('cpu'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match=r"finds no NVIDIA GPU\. Use --device cpu"):
        Device("cuda:3")


@pytest.mark.parametrize(
    ("choice", "dtype"), [("auto", torch.float32), ("fp32", torch.float32), ("fp16", torch.float16)]
)
def test_the_cpu_computes_in_float32_unless_told(choice: str, dtype: torch.dtype) -> None:
    cpu = Device("cpu", choice)
    assert cpu.dtype == dtype
    assert cpu.label.startswith("CPU, ")
    free = cpu.free_bytes()
    assert free is None or free > 0


def test_out_of_memory_is_told_from_other_errors() -> None:
    cpu = Device("cpu")
    with pytest.raises((RuntimeError, MemoryError)) as refused:
        torch.empty(2**60)
    assert cpu.is_out_of_memory(refused.value)
    assert cpu.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not cpu.is_out_of_memory(RuntimeError("shapes do not match"))
    assert not cpu.is_out_of_memory(ValueError("out of memory"))


def test_threads_are_as_many_as_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        monkeypatch.setattr(device_module, "usable_cores", lambda: 3)
        Device("cpu")
        assert torch.get_num_threads() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        torch.set_num_threads(2)
        Device("cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert usable_cores() >= 1
