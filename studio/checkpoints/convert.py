"""A pickled checkpoint (.ckpt .pt .pth .bin) => .safetensors, in a child process that cannot run what the pickle names.

PyTorch's weights-only loader reads it with an allowlist: tensors, plain containers, and stand-ins for the harmless
classes that training programs left in SD 1.x files. A class outside the list ends the conversion and is named. The
child has a memory limit and a time limit; the new file appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.checkpoints.inspect import BadCheckpoint, is_pickle

TIME_LIMIT_SECONDS = 600
SPARE_BYTES = 6 * 2**30  # PyTorch's own address space, beside three times the file
MAX_FILE_BYTES = 64 * 2**30
# Classes whose only use here is that their names may stand in a file: stand-ins that hold nothing take their place.
HARMLESS = re.compile(
    r"(pytorch_lightning|lightning\.pytorch|lightning_fabric)\.(callbacks|utilities|trainer)\.[A-Za-z_.]+"
    r"|omegaconf\.[A-Za-z_.]+|ldm\.(modules|models)\.[A-Za-z_.]+"
)
# numpy's own way to write a number; PyTorch's documentation lists them as safe to allow.
NUMPY = re.compile(r"numpy\.(_?core\.multiarray\.(scalar|_reconstruct)|dtype|ndarray|dtypes\.\w+DType)|_codecs\.encode")


class Blocked(BadCheckpoint):
    """A pickle that names classes or functions outside the allowlist. `names` are they."""

    def __init__(self, file: str, names: tuple[str, ...]) -> None:
        shown = ", ".join(name[:80] for name in names[:5])
        super().__init__(f"{file} was not converted: it asks for {shown}, which could run code. Do not use this file.")
        self.names = names


def convert(source: Path, target: Path, *, time_limit: float = TIME_LIMIT_SECONDS) -> Path:
    """Write the tensors of a pickled checkpoint as `target`, a .safetensors file, which must not be there yet.

    Raises Blocked for a pickle that could run code, BadCheckpoint for every other reason; nothing is left behind then.
    """
    if target.suffix != ".safetensors":
        raise BadCheckpoint(f"{target.name} should end in .safetensors.")
    if target.exists():
        raise BadCheckpoint(f"{target.name} is there already; it is not overwritten.")
    _check_container(source)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        answer = _in_child(source, part, time_limit)
        if names := answer.get("blocked"):
            raise Blocked(source.name, tuple(str(name) for name in names))
        if reason := answer.get("refused"):
            raise BadCheckpoint(f"{source.name} was not converted: {reason}")
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.link(part, target)  # never over a file that came meanwhile
    except FileExistsError as error:
        raise BadCheckpoint(f"{target.name} is there already; it is not overwritten.") from error
    except OSError as error:
        raise BadCheckpoint(f"{source.name} was not converted: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _check_container(source: Path) -> None:
    """What can be told before anything is unpacked: it is a pickle, and its records are stored, not compressed."""
    try:
        size = source.stat().st_size
        with source.open("rb") as file:
            start = file.read(300)
    except OSError as error:
        raise BadCheckpoint(f"{source.name} cannot be read: {error.strerror}.") from error
    if not is_pickle(start):
        raise BadCheckpoint(f"{source.name} is no pickle, so there is nothing to convert.")
    if size > MAX_FILE_BYTES:
        raise BadCheckpoint(f"{source.name} is too large to be converted.")
    if not start.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(source) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadCheckpoint(f"{source.name} is damaged or truncated: its list of records cannot be read.") from error
    compressed = [r for r in records if r.compress_type != zipfile.ZIP_STORED or r.compress_size != r.file_size]
    if compressed or sum(r.file_size for r in records) > size:
        raise BadCheckpoint(
            f"{source.name} holds compressed records, as no training program writes them: it is refused."
        )


def _in_child(source: Path, part: Path, time_limit: float) -> Mapping[str, Any]:
    given = json.dumps({"source": str(source.resolve()), "part": str(part)})
    environment = {
        k: v for k, v in os.environ.items() if k.upper() in ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH")
    }
    environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-m", "studio.checkpoints.convert"],
            input=given,
            capture_output=True,
            text=True,
            timeout=time_limit,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BadCheckpoint(
            f"{source.name} was not converted: it took longer than {time_limit:.0f} seconds."
        ) from error
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        killed = done.returncode < 0 or "MemoryError" in done.stderr or "memory" in done.stderr.lower()
        reason = "it wanted more memory than a file of this size needs." if killed else "it cannot be read."
        raise BadCheckpoint(f"{source.name} was not converted: {reason}") from error
    return answer if isinstance(answer, dict) else {}


# ------------------------------------------------------------------------------------------------- inside the child


def _child() -> None:
    """Reads what to do from standard input, prints one line of JSON."""
    given = json.loads(sys.stdin.read())
    source, part = Path(given["source"]), Path(given["part"])
    _limit_memory(3 * source.stat().st_size + SPARE_BYTES)
    print(json.dumps(_converted(source, part)))


def _limit_memory(limit: int) -> None:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _converted(source: Path, part: Path) -> dict[str, object]:
    import pickle

    import torch
    from safetensors.torch import save_file

    allowed: list[Any] = []
    if zipfile.is_zipfile(source):
        named = _unsafe_globals(source)
        blocked = sorted(name for name in named if not HARMLESS.fullmatch(name) and not NUMPY.fullmatch(name))
        if blocked:
            return {"blocked": blocked}
        allowed = [(_stand_in(name), name) for name in named if HARMLESS.fullmatch(name)] + _numpy_classes(named)
    try:
        # An open file, not its name: by a name that ends in .safetensors PyTorch would choose another reader.
        with source.open("rb") as file, torch.serialization.safe_globals(allowed):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = re.findall(r"(?:GLOBAL|global|class|function)s?:? ['`]?([A-Za-z_][\w.]+\.\w+)", str(error))
        return {"blocked": names} if names else {"refused": "its pickle holds more than weights."}
    except MemoryError:
        return {"refused": "it wanted more memory than a file of this size needs."}
    except Exception as error:
        return {"refused": f"it is damaged ({type(error).__name__})."}
    tensors, reason = _tensors(content)
    if reason:
        return {"refused": reason}
    try:
        save_file(tensors, part, metadata={"format": "pt", "converted_from": source.name})
    except OSError as error:
        return {"refused": f"the new file cannot be written ({error.strerror})."}
    return {"tensors": len(tensors)}


def _unsafe_globals(source: Path) -> list[str]:
    """What the pickle names outside PyTorch's own list, told without running it."""
    import torch

    with source.open("rb") as file:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(file))


def _stand_in(name: str) -> type:
    """A class of this name that takes anything and keeps nothing."""

    class StandIn:
        def __new__(cls, *_: object, **__: object) -> StandIn:
            return object.__new__(cls)

        def __init__(self, *_: object, **__: object) -> None: ...

        def __setstate__(self, _: object) -> None: ...

    StandIn.__module__, _, StandIn.__qualname__ = name.rpartition(".")
    return StandIn


def _numpy_classes(named: list[str]) -> list[Any]:
    import _codecs

    import numpy as np
    from numpy._core.multiarray import _reconstruct, scalar

    known: dict[str, Any] = {"scalar": scalar, "_reconstruct": _reconstruct, "dtype": np.dtype, "ndarray": np.ndarray}
    found: list[Any] = []
    for name in (n for n in named if NUMPY.fullmatch(n)):
        last = name.rpartition(".")[2]
        if name == "_codecs.encode":
            found.append(_codecs.encode)
        elif last in known:
            found.append((known[last], name))
    return [*found, *(getattr(np.dtypes, n) for n in np.dtypes.__all__)] if found else []


def _tensors(content: Any) -> tuple[dict[str, Any], str]:
    """The weights in what was unpickled, by name; and why not, where there are none or one is not what it claims."""
    import torch

    if isinstance(content, dict) and isinstance(content.get("string_to_param"), dict):  # A1111's embeddings
        params = [t for t in content["string_to_param"].values() if isinstance(t, torch.Tensor)]
        content = {"emb_params": params[0].detach()} if params else {}
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        return {}, "it holds no table of weights."
    found: dict[str, Any] = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            continue
        if tensor.is_sparse or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
            return {}, f"{name[:80]} is a tensor of a kind that weights are not."
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            return {}, f"{name[:80]} claims more values than the file holds."
        found[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return found, "" if found else "it holds no weights."


if __name__ == "__main__":
    _child()
