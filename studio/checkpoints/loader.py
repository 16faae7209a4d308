"""A diffusers folder => `Components` on the device: safetensors only, known classes only, every key accounted for.

Knows where the parts lie and what may go wrong with them; no page and no job. Nothing of the folder is ever run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from studio.checkpoints.identify import read_json
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.diffusion.families import Components, FamilyName
from studio.diffusion.vae import fitted_preview

logger = logging.getLogger(__name__)

FastPreview = tuple[torch.Tensor, torch.Tensor]  # weight, bias: studio.diffusion.preview
Progress = Callable[[str, float], None]  # a sentence for the page, and how much is done, 0..1

PARTS: dict[str, tuple[str, frozenset[str]]] = {  # folder -> what it is, and the classes that may stand in the index
    "text_encoder": ("text encoder", frozenset({"CLIPTextModel"})),
    "tokenizer": ("tokenizer", frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})),
    "unet": ("U-Net", frozenset({"UNet2DConditionModel"})),
    "vae": ("VAE", frozenset({"AutoencoderKL"})),
}
FAST_PREVIEW = "vae/fast_preview.safetensors"
# Buffers that older versions saved and newer ones compute; their presence says nothing about the weights.
IGNORED_KEYS = ("position_ids",)


def load(
    folder: Path,
    *,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
    fast_preview: FastPreview | None = None,
) -> Components:
    """Read every part of the folder, straight to the device in the target precision.

    The fast preview is the one given (fitted at an earlier load), else the file beside the VAE, else fitted now.
    Raises BadCheckpoint, one sentence that names the part, for anything missing, unexpected, mis-shaped or not finite.
    """
    transformers_logging.disable_progress_bar()  # progress goes to the page, not to the terminal
    _check_index(folder)
    scheduler_config = _config(folder, "scheduler", "scheduler_config.json")
    sizes = {part: _check_weights(folder, part) for part in ("text_encoder", "unet", "vae")}
    whole = max(1, sum(sizes.values()))
    done = 0

    def begin(part: str) -> None:
        progress(f"Loading {name}: {PARTS[part][0]}", done / whole)

    begin("text_encoder")
    tokenizer = _tokenizer(folder)
    text_encoder = _model(CLIPTextModel, folder, "text_encoder", device, dtype)
    done += sizes["text_encoder"]
    begin("vae")
    vae = _model(AutoencoderKL, folder, "vae", device, dtype)
    done += sizes["vae"]
    begin("unet")
    unet = _model(UNet2DConditionModel, folder, "unet", device, dtype)
    _check_fit(unet, vae, text_encoder, tokenizer)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    prediction_type = scheduler_config.get("prediction_type", "epsilon")
    if prediction_type not in ("epsilon", "v_prediction", "sample"):
        raise BadCheckpoint(f"The scheduler's prediction_type is {str(prediction_type)[:60]!r}, which is not known.")
    components = Components(
        name=name,
        family=_family(unet),
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler_config=scheduler_config,
        prediction_type=prediction_type,
        device=device,
        dtype=dtype,
        native_width=unet.config.sample_size * factor,
        native_height=unet.config.sample_size * factor,
        fast_preview=fast_preview or _fast_preview(folder, vae, device),
    )
    if components.fast_preview is None:
        progress(f"Loading {name}: fitting the fast preview", 0.99)
        components.fast_preview = _fitted(components)
    progress(f"Loading {name}: done", 1.0)
    return components


def _check_index(folder: Path) -> None:
    """Every part that model_index.json names is of a class from the list: a folder cannot bring its own code."""
    index = read_json(folder / "model_index.json")
    if index is None:
        raise BadCheckpoint("This folder has no readable model_index.json, so it is no diffusers checkpoint.")
    for part, (label, classes) in PARTS.items():
        entry = index.get(part)
        if not (isinstance(entry, list) and len(entry) == 2 and entry[1] is not None):
            raise BadCheckpoint(f"There is no {label} in this folder.")
        if entry[1] not in classes or entry[0] not in ("diffusers", "transformers"):
            given = f"{entry[0]!s:.60}.{entry[1]!s:.60}"
            raise BadCheckpoint(f"The {label} is of the class {given}; only {' or '.join(sorted(classes))} is loaded.")


def _config(folder: Path, part: str, file: str) -> dict[str, Any]:
    label = PARTS[part][0] if part in PARTS else part
    if not (folder / part).is_dir():
        raise BadCheckpoint(f"There is no {label} in this folder.")
    config = read_json(folder / part / file)
    if config is None:
        raise BadCheckpoint(f"The {label} has no readable {file}.")
    if "auto_map" in config:
        raise BadCheckpoint(f"The {label} wants to run code of its own (auto_map), which is refused.")
    return config


def _check_weights(folder: Path, part: str) -> int:
    """The part's bytes on disk, after its config and every header have been looked at."""
    label = PARTS[part][0]
    _config(folder, part, "config.json")
    files = [f for f in sorted((folder / part).glob("*.safetensors")) if f != folder / FAST_PREVIEW]
    if not files:
        pickles = any((folder / part).glob("*.bin"))
        reason = "only a pickle, which could run code and is not loaded" if pickles else "no .safetensors file"
        raise BadCheckpoint(f"The {label} cannot be loaded: there is {reason}.")
    for file in files:
        try:
            read_header(file)
        except BadCheckpoint as error:
            raise BadCheckpoint(f"The {label} cannot be loaded: {error}") from error
    return sum(f.stat().st_size for f in files)


def _model(kind: Any, folder: Path, part: str, device: torch.device, dtype: torch.dtype) -> Any:
    label = PARTS[part][0]
    given = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True, "dtype": dtype}
    try:
        try:  # each tensor goes to its place on the device as it is read, no second copy
            model, report = kind.from_pretrained(folder / part, device_map={"": device}, **given)
        except NotImplementedError:  # tensors are missing; without a device map diffusers says which
            model, report = kind.from_pretrained(folder / part, **given)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        if _is_out_of_memory(error, folder / part):
            raise
        logger.warning("Loading the %s failed", label, exc_info=True)
        raise BadCheckpoint(f"The {label} cannot be loaded: its weights do not fit its config.json.") from error
    for key, what in (("missing_keys", "are missing"), ("unexpected_keys", "do not belong there")):
        names = sorted(str(k) for k in report.get(key, ()) if not str(k).endswith(IGNORED_KEYS))
        if names:
            shown = ", ".join(n[:80] for n in names[:3]) + (" and more" if len(names) > 3 else "")
            raise BadCheckpoint(f"These are no weights of this {label}: {len(names)} tensors {what} ({shown}).")
    if report.get("mismatched_keys"):
        shown = ", ".join(str(k)[:120] for k in list(report["mismatched_keys"])[:3])
        raise BadCheckpoint(f"The {label} has tensors of the wrong shape: {shown}.")
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BadCheckpoint(f"The {label} is damaged: {key} holds values that are not numbers.")
    return model.eval().requires_grad_(False)


def _is_out_of_memory(error: Exception, folder: Path) -> bool:
    """Whether a load failed for want of memory, and not for a config that asks for tensors its weights cannot hold."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    asked = re.search(r"allocate memory.*tried to allocate (\d+) bytes", str(error))
    on_disk = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return asked is not None and int(asked[1]) <= 4 * on_disk  # one tensor; fp16 on disk may be float32 here


def _tokenizer(folder: Path) -> Any:
    if not (folder / "tokenizer").is_dir():
        raise BadCheckpoint("There is no tokenizer in this folder.")
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for damaged files
        logger.warning("Loading the tokenizer failed", exc_info=True)
        raise BadCheckpoint("The tokenizer's files cannot be read.") from error
    return tokenizer


def _check_fit(unet: Any, vae: Any, text_encoder: Any, tokenizer: Any) -> None:
    """Parts of different models in one folder: say which do not fit, before a call fails in the middle."""
    if unet.config.in_channels != vae.config.latent_channels:
        channels = f"{unet.config.in_channels} channels, the VAE makes {vae.config.latent_channels}"
        raise BadCheckpoint(f"The U-Net does not fit the VAE: it takes {channels}.")
    if unet.config.cross_attention_dim != text_encoder.config.hidden_size:
        width = f"{unet.config.cross_attention_dim} wide, the text encoder's are {text_encoder.config.hidden_size}"
        raise BadCheckpoint(f"The U-Net does not fit the text encoder: it takes embeddings {width}.")
    if len(tokenizer) > text_encoder.config.vocab_size:
        raise BadCheckpoint("The tokenizer does not fit the text encoder: it knows more tokens.")


def _family(unet: Any) -> FamilyName:
    return "sd2" if unet.config.cross_attention_dim == 1024 else "sd1"


def _fitted(components: Components) -> FastPreview | None:
    """A fast preview for a VAE that came without; a VAE that cannot be fitted only costs the preview."""
    try:
        weight, bias = fitted_preview(components)
    except (RuntimeError, ArithmeticError):
        logger.warning("No fast preview could be fitted to this VAE", exc_info=True)
        return None
    return (weight, bias) if bool(torch.isfinite(weight).all()) and bool(torch.isfinite(bias).all()) else None


def _fast_preview(folder: Path, vae: Any, device: torch.device) -> FastPreview | None:
    """The (weight, bias) beside the VAE, or None when there is none or it is damaged."""
    file = folder / FAST_PREVIEW
    if not file.exists():
        return None
    try:
        read_header(file)
        tensors = load_file(file)
        weight, bias = tensors["weight"].float(), tensors["bias"].float()
    except (BadCheckpoint, KeyError, OSError):
        logger.warning("The fast preview beside the VAE cannot be read", exc_info=True)
        return None
    side = 2 ** (len(vae.config.block_out_channels) - 1)
    if weight.shape != (3 * side * side, vae.config.latent_channels, 3, 3) or bias.shape != weight.shape[:1]:
        return None
    return weight.to(device), bias.to(device)
