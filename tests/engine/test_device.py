"""Names of devices, their errors in one sentence, and what the CPU says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from studio.engine import builds
from studio.engine import device as device_module
from studio.engine.device import Device, check_dtype, check_name, usable_cores
from studio.engine.failures import failed_event


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "xpu", "mps"])
def test_known_names_pass(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:0\n", "xpu:1", None, 0])
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
    with pytest.raises(ValueError, match=r"finds no NVIDIA or AMD GPU"):
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


# --------------------------------------------------------------------- GPUs that the installed build cannot run


def accelerator(
    monkeypatch: pytest.MonkeyPatch,
    *,
    capability: tuple[int, int] = (8, 6),
    architectures: tuple[str, ...] = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_120", "compute_120"),
) -> None:
    """torch sees an NVIDIA GPU, which is not there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: "NVIDIA Thing")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index=0: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(architectures))


@pytest.mark.parametrize(
    ("capability", "architectures", "right"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 9), ["sm_86", "sm_90"], True),
        ((8, 0), ["sm_86"], False),
        ((6, 1), ["sm_75", "sm_80", "compute_80"], False),
        ((6, 1), ["sm_50", "sm_60"], True),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_90", "sm_100"], False),
        ((9, 0), ["sm_90a"], False),
        ((10, 3), ["sm_75", "sm_100", "sm_120"], True),
        ((7, 0), [], False),
    ],
)
def test_whether_a_build_has_kernels_for_a_gpu(
    capability: tuple[int, int], architectures: list[str], right: bool
) -> None:
    assert builds.runs(capability, architectures) is right


@pytest.mark.parametrize(
    ("capability", "says"), [((6, 1), "--torch cu126"), ((5, 2), "--torch cu126"), ((3, 5), "it is too old")]
)
def test_a_gpu_too_old_for_the_build_is_named_with_the_build_that_can_and_the_cpu_is_used(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], says: str
) -> None:
    accelerator(monkeypatch, capability=capability)
    device = Device("auto")
    assert device.is_cpu
    assert device.note.startswith("NVIDIA Thing (compute capability")
    assert says in device.note
    assert device.note.endswith("The CPU is used.")
    assert "GPU cannot be used" in device.label
    with pytest.raises(ValueError, match=r"^device: cuda: NVIDIA Thing"):
        Device("cuda")


def test_a_gpu_that_fails_at_its_first_sum_is_named_and_the_cpu_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator(monkeypatch)  # torch here has no CUDA, so the first sum fails indeed
    device = Device("auto")
    assert device.is_cpu
    assert device.note.startswith("The GPU cuda does not compute (")


@pytest.mark.parametrize(
    ("vendors", "cuda", "hip", "says"),
    [
        (("NVIDIA",), None, None, "--torch cu130"),
        (("NVIDIA",), "13.0", None, "its driver is missing or too old"),
        (("AMD",), None, None, "--torch rocm"),
        (("AMD",), "13.0", None, "--torch rocm"),
        (("AMD",), None, "7.1", "ROCm does not know it"),
        (("Intel",), None, None, "--torch xpu"),
        (("AMD", "NVIDIA"), None, None, "--torch cu130"),
        ((), None, None, ""),
    ],
)
def test_a_gpu_that_torch_does_not_see_is_named_with_the_build_that_can(
    monkeypatch: pytest.MonkeyPatch, vendors: tuple[str, ...], cuda: str | None, hip: str | None, says: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(builds, "gpu_vendors", lambda: vendors)
    device = Device("auto")
    assert device.is_cpu
    assert says in device.note
    assert bool(device.note) == bool(vendors)


def test_vendors_are_read_from_the_system(tmp_path: Path) -> None:
    for name, kind, vendor in (("a", "0x030000", "0x1002"), ("b", "0x020000", "0x8086"), ("c", "0x030200", "0x10de")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "class").write_text(kind + "\n")
        (tmp_path / name / "vendor").write_text(vendor + "\n")
    (tmp_path / "d").mkdir()
    assert builds.gpu_vendors(tmp_path) == ("AMD", "NVIDIA")
    assert builds.gpu_vendors(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (
            NotImplementedError("The operator 'aten::_upsample' is not currently implemented for the MPS device."),
            "the operator aten::_upsample",
        ),
        (
            NotImplementedError("Could not run 'aten::foo.out' with arguments from the 'XPU' backend."),
            "the operator aten::foo.out",
        ),
        (
            TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."),
            "numbers of 64 bits",
        ),
        (ValueError("shapes do not match"), None),
    ],
)
def test_what_a_device_lacks_is_named(error: Exception, missing: str | None) -> None:
    cpu = Device("cpu")
    assert cpu.lacks(error) == missing
    said = failed_event("job", "x", error, cpu).message
    assert (f"lacks {missing}, which this picture needs" in said) is (missing is not None)
