"""Where model files lie: our own folders, AUTOMATIC1111's and Forge's, ComfyUI's; walked without leaving them.

Owns the names of folders and the walk. Opens no file: `studio.checkpoints.catalog` says what a file is.

models/checkpoints, models/vae, models/loras, models/embeddings, models/vae_approx     ours, and ComfyUI's
models/Stable-diffusion, models/VAE, models/Lora, models/VAE-approx, embeddings        AUTOMATIC1111's and Forge's
models/upscalers, models/upscale_models, models/ESRGAN, models/RealESRGAN              ours, ComfyUI's, AUTOMATIC1111's
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.asked.orders import ModelKind

# Lower-case folder name -> what lies in it. Below one of these everything is of that kind, however deep.
LAYOUT: Mapping[str, ModelKind] = {
    "checkpoints": "checkpoint",
    "stable-diffusion": "checkpoint",
    "diffusers": "checkpoint",
    "vae": "vae",
    "lora": "lora",
    "loras": "lora",
    "lycoris": "lora",
    "embeddings": "embedding",
    "vae_approx": "preview_decoder",
    "vae-approx": "preview_decoder",
    "controlnet": "controlnet",
    "safety_checker": "safety_checker",
    "upscalers": "upscaler",
    "upscale_models": "upscaler",
    "esrgan": "upscaler",
    "realesrgan": "upscaler",
    "swinir": "upscaler",
    "dat": "upscaler",
}
# Folders of the same programs whose files nothing here uses; walking them would list hundreds of unknown_names.
OTHERS = frozenset((
    "clip", "clip_vision", "configs", "controlnetpreprocessor", "codeformer", "deepbooru",
    "diffusion_models", "gfpgan", "gligen", "hypernetworks", "karlo", "ldsr", "photomaker",
    "style_models", "text_encoder", "text_encoders", "unet",
))  # fmt: skip
SUFFIXES = frozenset({".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf"})
MAX_DEPTH = 12
PICTURES = (".preview.png", ".preview.jpg", ".preview.jpeg", ".preview.webp", ".png", ".jpg", ".jpeg", ".webp")
SIDECARS = (".json", ".civitai.info")  # small files beside a model, see sidecars.py
INDEX = "model_index.json"  # what makes a folder a diffusers checkpoint
COMPONENT = "config.json"  # what makes a folder in a vae or controlnet folder a diffusers VAE or ControlNet
OWN_CONTROL = "control-"  # how the folder of a ControlNet begins that lies in the built-in checkpoint's own folder
OWN_LORAS = "lora"  # the folder of the LoRAs that lie in it
OWN_UPSCALERS = "upscaler"  # of the upscalers


@dataclass(frozen=True)
class ModelFile:
    """One file, or one diffusers folder, of the walk."""

    path: Path  # as it was reached, inside its models folder
    root: Path  # the models folder it was reached from
    kind: ModelKind | None  # by its folder; None where the folder does not say
    is_folder: bool
    size: int  # bytes; of a folder: of its weights
    mtime_ns: int  # newest change
    outside: bool = False  # a link that leads out of every models folder
    picture: str = ""  # name of a preview picture that lies beside a file, as AUTOMATIC1111 puts it there
    sidecars: tuple[str, ...] = ()  # names of small files beside it that say how it is called
    owner: str = ""  # key of the checkpoint that a ControlNet or a LoRA lies in and works with alone
    changed_ns: int = (
        0  # newest change of a file's place too: a copy may carry the time of its original (not on Windows)
    )

    @property
    def key(self) -> str:
        """What the caches know it by."""
        return self.path.as_posix()

    @property
    def where(self) -> str:
        """The folder it lies in as a person would say it: the models folder's own name and what is below, no more."""
        return (Path(self.root.name) / self.path.parent.relative_to(self.root)).as_posix()


def walk(models_dirs: Sequence[Path], built_in: str) -> Iterator[ModelFile]:
    """Every weights file and diffusers folder below the models folders, the built-in checkpoint first.

    A directory is entered once, however many links lead to it, so a loop of links ends. What a link leads to outside of
    all models folders is reported as `outside` and not looked at. Folders that cannot be read are passed over.
    """
    roots = [d.resolve() for d in models_dirs]
    visited_folders: set[tuple[int, int]] = set()
    for root in models_dirs:
        folder = root / built_in
        if (folder / INDEX).is_file() and _is_first_visit(folder, visited_folders):
            yield _folder(folder, root, "checkpoint", roots)
            yield from _own_controls(folder, root, roots)
            yield from _own_files(folder, OWN_LORAS, "lora", root, roots)
            yield from _own_files(folder, OWN_UPSCALERS, "upscaler", root, roots)
    for root in models_dirs:
        bases = [root, root / "models"]
        layout_folders = [child for base in bases for child in _children(base) if child.name.lower() in LAYOUT]
        for child in layout_folders:
            yield from _walk(Path(child.path), root, LAYOUT[child.name.lower()], roots, visited_folders, 0)
        # A folder of one's own, or one of the kinds itself. Upscalers lie beside anything.
        only_upscalers = all(LAYOUT[child.name.lower()] == "upscaler" for child in layout_folders)
        if only_upscalers or root.name.lower() in LAYOUT:
            yield from _walk(root, root, LAYOUT.get(root.name.lower()), roots, visited_folders, 0)


def _own_controls(checkpoint: Path, root: Path, roots: Sequence[Path]) -> Iterator[ModelFile]:
    """The ControlNets that a checkpoint's folder brings along."""
    for entry in _children(checkpoint):
        folder = Path(entry.path)
        if entry.name.startswith(OWN_CONTROL) and (folder / COMPONENT).is_file():
            yield replace(_folder(folder, root, "controlnet", roots), owner=checkpoint.as_posix())


def _own_files(checkpoint: Path, name: str, kind: ModelKind, root: Path, roots: Sequence[Path]) -> Iterator[ModelFile]:
    """What of a kind a checkpoint's folder brings along, in the folder of this name."""
    if not (checkpoint / name).is_dir():
        return
    for file in _walk(checkpoint / name, root, kind, roots, set(), 1):
        yield replace(file, owner=checkpoint.as_posix())


def _walk(
    folder: Path,
    root: Path,
    kind: ModelKind | None,
    roots: Sequence[Path],
    visited_folders: set[tuple[int, int]],
    depth: int,
) -> Iterator[ModelFile]:
    inside = _inside(folder, roots)
    if depth > MAX_DEPTH or not inside or not _is_first_visit(folder, visited_folders):
        if not inside:
            yield ModelFile(folder, root, kind, is_folder=True, size=0, mtime_ns=0, outside=True)
        return
    entries = _children(folder)
    names = {entry.name for entry in entries}
    if INDEX in names:
        yield _folder(folder, root, "checkpoint", roots)
        return
    if kind in ("vae", "controlnet") and depth and COMPONENT in names:
        yield _folder(folder, root, kind, roots)
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        try:
            is_folder = entry.is_dir()
            if not is_folder and path.suffix.lower() in SUFFIXES:
                stat = entry.stat()
                outside = entry.is_symlink() and not _inside(path, roots)
                picture = next((path.stem + end for end in PICTURES if path.stem + end in names), "")
                sidecars = tuple(path.stem + end for end in SIDECARS if path.stem + end in names)
                yield ModelFile(
                    path,
                    root,
                    kind,
                    is_folder=False,
                    size=0 if outside else stat.st_size,
                    mtime_ns=stat.st_mtime_ns,
                    changed_ns=stat.st_ctime_ns,
                    outside=outside,
                    picture=picture if picture and _inside(folder / picture, roots) else "",
                    sidecars=tuple(name for name in sidecars if _inside(folder / name, roots)),
                )
        except OSError:  # a broken link, or gone since the folder was read
            continue
        if is_folder and entry.name.lower() not in OTHERS:
            yield from _walk(path, root, kind, roots, visited_folders, depth + 1)


def _children(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda e: e.name.casefold())
    except OSError:
        return []


def _is_first_visit(folder: Path, visited_folders: set[tuple[int, int]]) -> bool:
    """Whether this is the first time; remembers it."""
    try:
        stat = folder.stat()
    except OSError:
        return False
    identity = (stat.st_dev, stat.st_ino) if stat.st_ino else (0, hash(folder.resolve()))  # no inodes on some shares
    if identity in visited_folders:
        return False
    visited_folders.add(identity)
    return True


def _inside(path: Path, roots: Sequence[Path]) -> bool:
    try:
        real = path.resolve()
    except (OSError, RuntimeError):  # a link to itself
        return False
    return any(real.is_relative_to(root) for root in roots)


def _folder(folder: Path, root: Path, kind: ModelKind, roots: Sequence[Path]) -> ModelFile:
    """A diffusers folder; its weights and JSON files stand for it, so that a change of any of them is a change."""
    size, newest, newest_change, outside = 0, 0, 0, not _inside(folder, roots)
    parts = [
        entry
        for entry in _children(folder)
        if entry.is_dir() and not entry.name.startswith((OWN_CONTROL, OWN_LORAS, OWN_UPSCALERS))
    ]
    outside = outside or any(part.is_symlink() and not _inside(Path(part.path), roots) for part in parts)
    for part in [] if outside else [folder, *(Path(part.path) for part in parts)]:
        for entry in _children(part):
            try:
                if entry.name.endswith((".safetensors", ".sft", ".json", ".bin")) and entry.is_file():
                    stat = entry.stat()
                    newest, newest_change = max(newest, stat.st_mtime_ns), max(newest_change, stat.st_ctime_ns)
                    size += stat.st_size if not entry.name.endswith(".json") else 0
                    outside = outside or (entry.is_symlink() and not _inside(Path(entry.path), roots))
            except OSError:
                continue
    return ModelFile(
        folder, root, kind, is_folder=True, size=size, mtime_ns=newest, changed_ns=newest_change, outside=outside
    )


def now(file: ModelFile, models_dirs: Sequence[Path]) -> ModelFile | None:
    """The same file or folder as it is on disk now; None when it is gone. Looks at nothing else."""
    roots = [d.resolve() for d in models_dirs]
    if file.is_folder:
        if not file.path.is_dir():
            return None
        folder = _folder(file.path, file.root, file.kind or "checkpoint", roots)
        return replace(folder, kind=file.kind, owner=file.owner)
    try:
        stat = file.path.stat()
        outside = file.path.is_symlink() and not _inside(file.path, roots)
    except OSError:
        return None
    size = 0 if outside else stat.st_size
    return replace(file, size=size, mtime_ns=stat.st_mtime_ns, changed_ns=stat.st_ctime_ns, outside=outside)
