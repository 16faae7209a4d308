"""Which GPUs this machine has, and which build of PyTorch can run them. Plain Python: torch is only handed in.

What the builds can run is of PyTorch's release notes; only CPU and CUDA builds have been tried.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
DISPLAY = "0x03"  # PCI's class of graphics adapters
PCI = Path("/sys/bus/pci/devices")

# The oldest compute capability that each CUDA build runs.
CUDA_BUILDS = {"cu130": (7, 5), "cu126": (5, 0)}


def gpu_vendors(devices: Path = PCI) -> tuple[str, ...]:
    """Whose graphics adapters are in this machine; empty where the system does not say (anything but Linux)."""
    vendors = set()
    for device in sorted(devices.glob("*")):
        try:
            if (device / "class").read_text().startswith(DISPLAY):
                vendors.add(VENDORS.get((device / "vendor").read_text().strip(), ""))
        except OSError:
            continue
    return tuple(sorted(vendors - {""}))


def cuda_build(capability: tuple[int, int]) -> str | None:
    """The newest CUDA build that runs an NVIDIA GPU of this compute capability; None where there is none any more."""
    return next((build for build, oldest in CUDA_BUILDS.items() if capability >= oldest), None)


def runs(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Whether a build with kernels for these architectures runs a GPU of this compute capability: one has been compiled
    for its generation and not for a later member of it, or an intermediate form that its driver compiles."""
    for name in architectures:
        kind, _, digits = name.partition("_")
        number = re.fullmatch(r"(\d+)(\d)", digits)
        if number is None:  # sm_90a and the like run on exactly one GPU, which has the plain form too
            continue
        build_capability = (int(number[1]), int(number[2]))
        if kind == "sm" and build_capability[0] == capability[0] and build_capability[1] <= capability[1]:
            return True
        if kind == "compute" and build_capability <= capability:
            return True
    return False


def problem(torch: Any, index: int) -> str | None:
    """Why the GPU that torch calls `cuda:index` cannot run with the installed build, and which build can; None where it
    can."""
    name = str(torch.cuda.get_device_name(index))
    architectures = list(torch.cuda.get_arch_list())
    if torch.version.hip is not None:
        architecture = str(torch.cuda.get_device_properties(index).gcnArchName).partition(":")[0]
        if not architectures or architecture in architectures:
            return None
        here = _installed_torch(torch)
        return f"{name} ({architecture}) cannot run with {here}, which is for {', '.join(architectures)}."
    capability = tuple(torch.cuda.get_device_capability(index))
    if not architectures or runs(capability, architectures):
        return None
    build = cuda_build(capability)
    device_text = (
        f"{name} (compute capability {capability[0]}.{capability[1]}) cannot run with {_installed_torch(torch)}"
    )
    if build is None:
        return f"{device_text}, nor with any build that the studio can use: it is too old."
    return f"{device_text}. Install the build that can: python3 start.py --torch {build}"


def hint_for_unused_gpu(torch: Any, vendors: tuple[str, ...]) -> str | None:
    """What is to be said of GPUs that are in this machine while torch sees none; None where there is nothing."""
    build_text = _installed_torch(torch)
    if "NVIDIA" in vendors:
        if torch.version.cuda is not None:
            return f"An NVIDIA GPU is here, but its driver is missing or too old for {build_text}: install a newer one."
        return f"An NVIDIA GPU is here, which {build_text} cannot run. Install the build that can: {_install('cu130')}"
    if "AMD" in vendors:
        if torch.version.hip is not None:
            return f"An AMD GPU is here, but {build_text} does not find it: ROCm does not know it, or lacks its driver."
        return f"An AMD GPU is here, which {build_text} cannot run. If ROCm knows it: {_install('rocm')}"
    if "Intel" in vendors and not torch.xpu._is_compiled():
        return f"An Intel GPU is here, which {build_text} cannot run. If it is an Arc or newer: {_install('xpu')}"
    return None


def _install(build: str) -> str:
    return f"python3 start.py --torch {build}"


def _installed_torch(torch: Any) -> str:
    return f"the installed PyTorch {torch.__version__}"
