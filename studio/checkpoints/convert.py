"""A pickled checkpoint (.ckpt .pt .pth .bin) => .safetensors, in a child process that cannot run what the pickle names.

PyTorch's weights-only loader reads it with an allowlist: tensors, plain containers, and stand-ins for the harmless
classes that training programs left in SD 1.x files. A class outside the list ends the conversion and is named. The
child has a memory limit and a time limit; the new file appears whole or not at all.
"""

from __future__ import annotations

import _compat_pickle
import io
import json
import os
import pickletools
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint, is_pickle

TIME_LIMIT_SECONDS = 600
SPARE_BYTES = 6 * 2**30  # PyTorch's own address space, beside three times the file
MAX_FILE_BYTES = 64 * 2**30
MAX_PICKLE_BYTES = 256 * 2**20  # of a zip file's data.pkl, which holds names and shapes alone
# How training programs call the weights in a file of several things, the better ones first.
TABLES = ("state_dict", "params_ema", "params-ema", "params", "model_state_dict")
LOOK_SECONDS = 0.1  # how often the child is looked at
# Classes whose only use here is that their names may stand in a file: stand-ins that hold nothing take their place.
HARMLESS = re.compile(
    r"(pytorch_lightning|lightning\.pytorch|lightning_fabric)\.(callbacks|utilities|trainer)\.[A-Za-z_.]+"
    r"|omegaconf\.[A-Za-z_.]+|ldm\.(modules|models)\.[A-Za-z_.]+"
)
# numpy's own way to write a number; PyTorch's documentation lists them as safe to allow.
NUMPY = re.compile(r"numpy\.(_?core\.multiarray\.(scalar|_reconstruct)|dtype|ndarray|dtypes\.\w+DType)|_codecs\.encode")


class UnsafePickle(BadCheckpoint):
    """A pickle that names classes or functions outside the allowlist. `names` are they."""

    def __init__(self, file: str, names: tuple[str, ...]) -> None:
        examples = ", ".join(name[:80] for name in names[:5])
        super().__init__(
            Message(
                "{file} was not converted: it asks for {examples}, which could run code. Do not use this file.",
                file=file,
                examples=examples,
            )
        )
        self.names = names


def convert(
    source: Path,
    target: Path,
    *,
    time_limit: float = TIME_LIMIT_SECONDS,
    progress: Callable[[float | None], None] = lambda fraction: None,
    stop: threading.Event | None = None,
) -> Path:
    """Write the tensors of a pickled checkpoint as `target`, a .safetensors file, which must not be there yet.

    `progress` is called with the share of the new file that is written, 0 to 1, or None while the old one is read;
    `stop` ends it.
    Raises Blocked for a pickle that could run code, BadCheckpoint for every other reason; nothing is left behind then.
    """
    if target.suffix != ".safetensors":
        raise BadCheckpoint(Message("{target} should end in .safetensors.", target=target.name))
    if target.exists():
        raise BadCheckpoint(Message("{target} is there already; it is not overwritten.", target=target.name))
    _check_container(source)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        size = source.stat().st_size
        if shutil.disk_usage(target.parent).free < size:
            raise BadCheckpoint(
                Message(
                    "{source} was not converted: the disk has no room for another {size} GB.",
                    source=source.name,
                    size=f"{size / 1e9:.1f}",
                )
            )
        answer = _in_child(source, part, time_limit, progress, stop)
        if names := answer.get("blocked"):
            raise UnsafePickle(source.name, tuple(str(name) for name in names))
        if reason := answer.get("refused"):
            raise BadCheckpoint(Message("{source} was not converted: {reason}", source=source.name, reason=reason))
        with part.open("rb") as part_file:
            os.fsync(part_file.fileno())
        os.link(part, target)  # never over a file that came meanwhile
    except FileExistsError as error:
        raise BadCheckpoint(Message("{target} is there already; it is not overwritten.", target=target.name)) from error
    except OSError as error:
        raise BadCheckpoint(
            Message("{source} was not converted: {error}.", source=source.name, error=error.strerror)
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _check_container(source: Path) -> None:
    """What the file shows before anything is unpacked: it is a pickle, and its records are stored, not compressed."""
    try:
        size = source.stat().st_size
        with source.open("rb") as file:
            start = file.read(300)
    except OSError as error:
        raise BadCheckpoint(
            Message("{source} cannot be read: {error}.", source=source.name, error=error.strerror)
        ) from error
    if not is_pickle(start):
        raise BadCheckpoint(Message("{source} is no pickle, so there is nothing to convert.", source=source.name))
    if size > MAX_FILE_BYTES:
        raise BadCheckpoint(Message("{source} is too large to be converted.", source=source.name))
    if not start.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(source) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadCheckpoint(
            Message("{source} is damaged or truncated: its list of records cannot be read.", source=source.name)
        ) from error
    compressed_records = [r for r in records if r.compress_type != zipfile.ZIP_STORED or r.compress_size != r.file_size]
    if compressed_records or sum(r.file_size for r in records) > size:
        raise BadCheckpoint(
            Message(
                "{source} holds compressed records, as no training program writes them: it is refused.",
                source=source.name,
            )
        )


def _in_child(
    source: Path,
    part: Path,
    time_limit: float,
    progress: Callable[[float | None], None],
    stop: threading.Event | None,
) -> Mapping[str, Any]:
    order = json.dumps({"source": str(source.resolve()), "part": str(part)})
    environment = {
        k: v for k, v in os.environ.items() if k.upper() in ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH")
    }
    environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    size, ends = max(1, source.stat().st_size), time.monotonic() + time_limit
    # What the child says goes to files: a pipe that nobody empties would hold it up.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as problems:
        command = [sys.executable, "-B", "-m", "studio.checkpoints.convert"]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=problems, text=True, env=environment
        )
        try:
            assert child.stdin is not None
            child.stdin.write(order)
            child.stdin.close()
            while child.poll() is None:
                if stop is not None and stop.is_set():
                    raise BadCheckpoint(Message("{source} was not converted: it was stopped.", source=source.name))
                if time.monotonic() > ends:
                    raise BadCheckpoint(
                        Message(
                            "{source} was not converted: it took longer than {time_limit} seconds.",
                            source=source.name,
                            time_limit=f"{time_limit:.0f}",
                        )
                    )
                progress(min(1.0, part.stat().st_size / size) if part.exists() else None)
                try:
                    child.wait(LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        output.seek(0)
        problems.seek(0)
        answer, error_text = output.read(), problems.read()
    try:
        report = json.loads(answer.splitlines()[-1])
    except (ValueError, IndexError) as error:
        out_of_memory = child.returncode < 0 or "memory" in error_text.lower()
        reason = (
            Message("it wanted more memory than a file of this size needs.")
            if out_of_memory
            else Message("it cannot be read.")
        )
        raise BadCheckpoint(
            Message("{source} was not converted: {reason}", source=source.name, reason=reason)
        ) from error
    return report if isinstance(report, dict) else {}


# ------------------------------------------------------------------------------------------------- inside the child


def _child() -> None:
    """Reads what to do from standard input, prints one line of JSON."""
    order = json.loads(sys.stdin.read())
    source, part = Path(order["source"]), Path(order["part"])
    _limit_memory(3 * source.stat().st_size + SPARE_BYTES)
    print(json.dumps(_convert(source, part)))


def _limit_memory(limit: int) -> None:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _convert(source: Path, part: Path) -> dict[str, object]:
    import pickle

    import torch
    from safetensors.torch import save_file

    class_names = _unsafe_names(source)
    forbidden = sorted(name for name in class_names if not HARMLESS.fullmatch(name) and not NUMPY.fullmatch(name))
    if forbidden:
        return {"blocked": forbidden}
    harmless = [(_stand_in(name), name) for name in class_names if HARMLESS.fullmatch(name)] + _numpy_classes(
        class_names
    )
    try:
        # An open file, not its name: by a name that ends in .safetensors PyTorch would choose another reader.
        with source.open("rb") as file, torch.serialization.safe_globals(harmless):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = re.findall(r"(?:GLOBAL|global|class|function)s?:? ['`]?([A-Za-z_][\w.]+\.\w+)", str(error))
        return {"blocked": names} if names else {"refused": Message("its pickle holds more than weights.")}
    except MemoryError:
        return {"refused": Message("it wanted more memory than a file of this size needs.")}
    except Exception as error:
        if ".tar" in str(error):
            return {"refused": Message("it is of PyTorch's first form, a tar, which its safe reader does not read.")}
        return {"refused": Message("it is damaged ({name}).", name=type(error).__name__)}
    tensors, reason = _tensors(content)
    if reason:
        return {"refused": reason}
    try:
        save_file(tensors, part, metadata={"format": "pt", "converted_from": source.name})
    except OSError as error:
        return {"refused": Message("the new file cannot be written ({error}).", error=error.strerror)}
    return {"tensors": len(tensors)}


def _unsafe_names(source: Path) -> list[str]:
    """What the file's pickles name outside PyTorch's own list, told without running them."""
    from torch._weights_only_unpickler import _get_allowed_globals

    names: set[str] = set()
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                for record in archive.infolist():
                    if record.filename.endswith("data.pkl") and record.file_size <= MAX_PICKLE_BYTES:
                        _collect_names(io.BytesIO(archive.read(record)), names)
        else:
            with source.open("rb") as file:  # the older form: a few pickles one after the other, then the weights
                for _ in range(PICKLES_IN_OLD_FILES):
                    _collect_names(file, names)
    except (ValueError, EOFError):  # a lone pickle, a damaged one: what the loader will say
        pass
    return sorted(names - set(_get_allowed_globals()))


PICKLES_IN_OLD_FILES = 5  # magic number, version, system, content, names of the weights


def _collect_names(stream: BinaryIO, names: set[str]) -> None:
    """Add the classes and functions that one pickle names, by its opcodes; the stream is left behind its end.

    A pickle can hide a name from this (by putting it together while it is run), not from the loader: this only says
    what to tell. Raises ValueError where the opcodes end in nonsense.
    """
    texts: list[str] = []  # in the order of their pushing; the newest two are what STACK_GLOBAL takes
    memo: dict[int, str] = {}
    protocol, last = 0, ""
    argument: Any
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "PROTO":
            protocol = argument
        elif opcode.name in ("GLOBAL", "INST"):
            module, _, name = argument.partition(" ")
            names.add(_todays_name(module, name) if protocol < 3 else f"{module}.{name}")
        elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
            names.add(f"{texts[-2]}.{texts[-1]}")
        elif "UNICODE" in opcode.name or "STRING" in opcode.name:
            last = argument if isinstance(argument, str) else ""
            texts.append(last)
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = last
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument)] = last
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            texts.append(memo.get(int(argument), ""))
        if "UNICODE" not in opcode.name and "STRING" not in opcode.name:
            last = ""
        del texts[:-2]


def _todays_name(module: str, name: str) -> str:
    """Pickles of the old protocols hold Python 2's names: __builtin__.eval => builtins.eval."""
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"


def _stand_in(name: str) -> type:
    """A class of this name that takes anything and keeps nothing."""

    class StandIn:
        def __new__(cls, *_: object, **__: object) -> StandIn:
            return object.__new__(cls)

        def __init__(self, *_: object, **__: object) -> None: ...

        def __setstate__(self, _: object) -> None: ...

    StandIn.__module__, _, StandIn.__qualname__ = name.rpartition(".")
    return StandIn


def _numpy_classes(class_names: list[str]) -> list[Any]:
    import _codecs

    import numpy as np
    from numpy._core.multiarray import _reconstruct, scalar

    numpy_parts: dict[str, Any] = {
        "scalar": scalar,
        "_reconstruct": _reconstruct,
        "dtype": np.dtype,
        "ndarray": np.ndarray,
    }
    classes: list[Any] = []
    for name in (n for n in class_names if NUMPY.fullmatch(n)):
        last = name.rpartition(".")[2]
        if name == "_codecs.encode":
            classes.append(_codecs.encode)
        elif last in numpy_parts:
            classes.append((numpy_parts[last], name))
    return [*classes, *(getattr(np.dtypes, n) for n in np.dtypes.__all__)] if classes else []


def _tensors(content: Any) -> tuple[dict[str, Any], str]:
    """The weights in what was unpickled, by name; and why not, where there are none or one is not what it claims."""
    import torch

    if isinstance(content, dict) and isinstance(content.get("string_to_param"), dict):  # A1111's embeddings
        params = [t for t in content["string_to_param"].values() if isinstance(t, torch.Tensor)]
        content = {"emb_params": params[0].detach()} if params else {}
    table = next((t for t in TABLES if isinstance(content, dict) and isinstance(content.get(t), dict)), None)
    if table is not None:
        content = content[table]
    if not isinstance(content, dict):
        return {}, Message("it holds no table of weights.")
    tensors: dict[str, Any] = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            continue
        if tensor.is_sparse or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
            return {}, Message("{name} is a tensor of a kind that weights are not.", name=name[:80])
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            return {}, Message("{name} claims more values than the file holds.", name=name[:80])
        tensors[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return tensors, "" if tensors else Message("it holds no weights.")


if __name__ == "__main__":
    _child()
