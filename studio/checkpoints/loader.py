"""A model file or folder => `Components` on the device: safetensors only, known classes only, every key accounted for.

Modules are made without memory, every name and shape is compared with the file's header, and only then are the weights
read, each straight to the device in the target precision. Nothing of a file or folder is ever run.
"""

from __future__ import annotations

import inspect as signatures
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from studio.checkpoints import configs
from studio.checkpoints.identify import (
    FAMILY_LABELS,
    PREDICTIONS,
    Family,
    ModelFacts,
    Prediction,
    folder_family,
    identify,
    read_json,
    weights_files,
)
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_header
from studio.checkpoints.layout import Move, todays_name, translate, vae_levels, vae_name
from studio.checkpoints.leased_map import leased
from studio.checkpoints.reader import WeightsFile
from studio.checkpoints.tiny_vae import load_tiny_vae
from studio.diffusion.components import Components, size_numbers

logger = logging.getLogger(__name__)

FastPreview = tuple[torch.Tensor, torch.Tensor]  # weight, bias: studio.diffusion.preview
Progress = Callable[[str, float], None]  # a sentence for the page, and how much is done, 0..1

PARTS: dict[str, tuple[str, frozenset[str]]] = {  # folder -> what it is, and the classes that may stand in the index
    "text_encoder": ("text encoder", frozenset({"CLIPTextModel"})),
    "tokenizer": ("tokenizer", frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})),
    "text_encoder_2": ("second text encoder", frozenset({"CLIPTextModelWithProjection"})),
    "tokenizer_2": ("second tokenizer", frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})),
    "vae": ("VAE", frozenset({"AutoencoderKL"})),
    "unet": ("U-Net", frozenset({"UNet2DConditionModel"})),
    "controlnet": ("ControlNet", frozenset({"ControlNetModel"})),
}
FAMILY_PARTS: dict[Family, tuple[str, ...]] = {
    "sd1": ("text_encoder", "tokenizer", "vae", "unet"),
    "sd2": ("text_encoder", "tokenizer", "vae", "unet"),
    "sdxl": ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "vae", "unet"),
    "sdxl_refiner": ("text_encoder_2", "tokenizer_2", "vae", "unet"),
}
MODULES: dict[str, Any] = {
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
    "controlnet": ControlNetModel,
}
FAST_PREVIEW = "vae/fast_preview.safetensors"
TINY_VAE = "vae_tiny"  # folder of the tiny decoder that was distilled from this checkpoint's own VAE
# Buffers that older versions saved and newer ones compute; their presence says nothing about the weights.
IGNORED_KEYS = ("position_ids",)
READERS = 4  # threads that read one part: a copy out of the page cache keeps a core busy
MAX_LAYERS = 128  # per list and per number of a config: a module of a billion layers would never be made


class MissingVae(BadCheckpoint):
    """A checkpoint without a VAE: it can be loaded with another one."""


@dataclass(frozen=True)
class Source:
    """Where one parameter comes from."""

    file: Path
    entry: TensorEntry
    third: int | None = None
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.entry.shape
        if self.third is not None and shape:
            shape = (shape[0] // 3, *shape[1:])
        return shape[::-1] if self.transposed else shape


@dataclass(frozen=True)
class Plan:
    """One part before it is read: its config and where every parameter comes from."""

    part: str
    config: Mapping[str, Any]
    sources: Mapping[str, Source]
    strangers: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(s.entry.size_bytes // (3 if s.third is not None else 1) for s in self.sources.values())


@dataclass(frozen=True)
class Blueprint:
    """A whole checkpoint before it is read."""

    facts: ModelFacts
    family: Family
    plans: Mapping[str, Plan]
    scheduler_config: dict[str, Any]
    tokenizers: Callable[[str], Any]  # by "tokenizer" or "tokenizer_2"
    index: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def load(
    path: Path,
    *,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
    prediction_type: Prediction | None = None,
    vae: Path | None = None,
    fast_preview: FastPreview | None = None,
) -> Components:
    """Read every part of a single file or a diffusers folder, straight to the device in the target precision.

    `prediction_type` is what the user says it is, where the file is wrong or silent. `vae` is another VAE to take, a
    file or a folder. The fast preview is the one given, else the file beside the VAE, else None: it is fitted later.
    The tiny decoder is the one in the folder `vae_tiny`, if any: it knows the latents of the VAE there.
    Raises BadCheckpoint, one sentence that names the file or part, for anything missing, unexpected or mis-shaped
    (MissingVae where another VAE would help), before anything is put on the device.
    """
    facts = identify(path)
    if prediction_type is not None:
        facts = replace(facts, prediction_type=prediction_type, prediction_source="user")
    blueprint = blueprint_of(path, facts, vae=vae)
    configured = blueprint.scheduler_config.get("prediction_type", "epsilon")
    if configured not in PREDICTIONS:
        raise BadCheckpoint(f"The scheduler's prediction_type is {str(configured)[:60]!r}, which is not known.")
    modules = {part: empty_module(plan) for part, plan in blueprint.plans.items()}
    tokenizers = {part: blueprint.tokenizers(part) for part in FAMILY_PARTS[blueprint.family] if part not in MODULES}
    _check_fit(modules, tokenizers)
    whole, done = max(1, sum(plan.size_bytes for plan in blueprint.plans.values())), 0
    for part, plan in blueprint.plans.items():
        progress(f"Loading {name}: {PARTS[part][0]}", done / whole)
        fill(modules[part], plan, device, dtype)
        done += plan.size_bytes
    native_width, native_height = _native_size(blueprint, modules)
    components = Components(
        name=name,
        family=blueprint.family,
        unet=modules["unet"],
        vae=modules["vae"],
        text_encoder=modules.get("text_encoder"),
        tokenizer=tokenizers.get("tokenizer"),
        text_encoder_2=modules.get("text_encoder_2"),
        tokenizer_2=tokenizers.get("tokenizer_2"),
        scheduler_config=blueprint.scheduler_config,
        prediction_type=configured,
        device=device,
        dtype=dtype,
        native_width=native_width,
        native_height=native_height,
        zero_empty_negative=blueprint.index.get("force_zeros_for_empty_prompt") is True,
        fast_preview=fast_preview or (_fast_preview(path, modules["vae"], device) if vae is None else None),
        tiny_vae=_tiny_vae(path, device, dtype) if vae is None else None,
        notes=blueprint.notes,
    )
    if facts.form != "folder" and facts.prediction_type is None:
        progress(f"Loading {name}: measuring what it predicts", 0.98)
        measured = measured_prediction(components)
        components.prediction_type = measured
        components.scheduler_config["prediction_type"] = measured
        if facts.native_width is None:
            components.native_width = components.native_height = 768 if measured == "v_prediction" else 512
        components.notes += (f"{path.name} does not say what it predicts; measured: {MEANING[measured]}.",)
    progress(f"Loading {name}: done", 1.0)
    return components


MEANING: Mapping[Prediction, str] = {"epsilon": "the noise", "v_prediction": "v", "sample": "the picture"}
# Cosine between pure noise and a U-Net's answer to it: about 1 where it predicts the noise; where it predicts v, which
# is then nearly minus the picture, about 0.07. Between these bounds nobody can say.
NOISE_COSINE, V_COSINE = 0.6, 0.3


@torch.inference_mode()
def measured_prediction(components: Components) -> Prediction:
    """Whether an SD 2 U-Net predicts noise or v, by its answer to pure noise. Raises BadCheckpoint if it is neither."""
    noise = torch.randn((1, components.in_channels, 32, 32), generator=torch.Generator().manual_seed(0))
    embeds = torch.zeros(1, 77, components.unet.config.cross_attention_dim)
    moved = [x.to(components.device, components.dtype) for x in (noise, embeds)]
    last = torch.tensor([int(components.scheduler_config["num_train_timesteps"]) - 1], device=components.device)
    answer = components.unet(moved[0], last, moved[1], return_dict=False)[0].float().cpu()
    cosine = float(torch.nn.functional.cosine_similarity(answer.flatten(), noise[:, :4].flatten(), dim=0))
    if cosine > NOISE_COSINE:
        return "epsilon"
    if abs(cosine) < V_COSINE:
        return "v_prediction"
    raise BadCheckpoint(
        f"{components.name} does not say whether it predicts noise or v, and its answers do not show it: "
        "choose its prediction type on the Models tab."
    )


# ------------------------------------------------------------------------------------------------------- blueprints


def blueprint_of(path: Path, facts: ModelFacts, *, vae: Path | None = None) -> Blueprint:
    """What would be loaded from `path`, every header checked and no tensor read. Raises BadCheckpoint."""
    if facts.form == "folder" or path.is_dir():
        blueprint = _of_folder(path, facts, own_vae=vae is None)
    else:
        blueprint = _of_file(path, facts, own_vae=vae is None)
    if vae is not None:
        plan = vae_plan(vae, blueprint.family)
        blueprint = replace(blueprint, plans={p: plan if p == "vae" else given for p, given in blueprint.plans.items()})
        blueprint = replace(blueprint, notes=(*blueprint.notes, f"The VAE is {vae.name}."))
    return blueprint


def _of_file(path: Path, facts: ModelFacts, *, own_vae: bool) -> Blueprint:
    if facts.kind != "checkpoint" or facts.family is None:
        kind = {"lora": "a LoRA", "vae": "a VAE", "embedding": "an embedding", "taesd": "a small VAE for previews",
                "controlnet": "a ControlNet"}.get(facts.kind)  # fmt: skip
        if kind is not None:
            raise BadCheckpoint(f"{path.name} is {kind}, not a checkpoint.")
        raise BadCheckpoint(_about(path, facts.reason))
    if facts.reason:
        raise BadCheckpoint(_about(path, facts.reason))
    family = facts.family
    tensors = read_header(path)
    translation = translate(tensors, family)
    if own_vae and not translation.moves["vae"]:
        raise MissingVae(
            f"There is no VAE in {path.name}. Choose one for it, such as the one made for {FAMILY_LABELS[family]}."
        )
    plans = {}
    for part in (p for p in FAMILY_PARTS[family] if p in MODULES):
        sources = _sources(translation.moves.get(part, ()), tensors, path)
        if part == "vae" and not own_vae:
            plans[part] = Plan(part, {}, {})
            continue
        if not sources:
            raise BadCheckpoint(f"There is no {PARTS[part][0]} in {path.name}.")
        try:
            config = configs.part_config(family, part, {k: s.shape for k, s in sources.items()}, facts)
        except (KeyError, IndexError, ValueError, StopIteration) as error:
            raise BadCheckpoint(
                f"These are no weights of this {PARTS[part][0]}: tensors are missing ({error})."
            ) from error
        plans[part] = Plan(part, config, sources, tuple(translation.strangers.get(part, ())))
    if family in ("sdxl", "sdxl_refiner"):
        unet = dict(plans["unet"].config)
        pooled = plans["text_encoder_2"].config["projection_dim"]
        unet["addition_time_embed_dim"] = configs.size_embedding_width(unet, pooled, len(size_numbers(family, 8, 8)))
        plans["unet"] = replace(plans["unet"], config=unet)
    notes = []
    if translation.unused:
        shown = ", ".join(n[:60] for n in translation.unused[:3])
        notes.append(f"{len(translation.unused)} tensors of {path.name} were not used ({shown}).")

    def tokenizer(part: str) -> Any:
        return configs.clip_tokenizer(configs.PAD_TOKENS[family, part])

    return Blueprint(
        facts, family, plans, configs.scheduler_config(facts), tokenizer, configs.pipeline_index(family), tuple(notes)
    )


def _about(path: Path, reason: str) -> str:
    return reason if path.name in reason else f"{path.name}: {reason}"


def _sources(moves: Iterable[Move], tensors: Mapping[str, TensorEntry], path: Path) -> dict[str, Source]:
    return {
        move.target: Source(path, tensors[move.source], move.third, move.transposed)
        for move in moves
        if not move.target.endswith(IGNORED_KEYS)
    }


def _of_folder(folder: Path, facts: ModelFacts, *, own_vae: bool) -> Blueprint:
    index = read_json(folder / "model_index.json")
    if index is None:
        raise BadCheckpoint("This folder has no readable model_index.json, so it is no diffusers checkpoint.")
    if facts.reason:
        raise BadCheckpoint(facts.reason)
    family = facts.family or folder_family(read_json(folder / "unet" / "config.json") or {}, index)
    parts = FAMILY_PARTS[family]
    for part in parts:
        _check_class(index, part, required=part != "vae" or own_vae)
    scheduler_config = _config(folder, "scheduler", "scheduler_config.json")
    if facts.prediction_source == "user" and facts.prediction_type is not None:
        scheduler_config["prediction_type"] = facts.prediction_type
    scheduler_config |= configs.few_step_settings(facts)
    plans = {
        part: Plan(part, {}, {}) if part == "vae" and not own_vae else _folder_plan(folder / part, part)
        for part in parts
        if part in MODULES
    }
    return Blueprint(facts, family, plans, scheduler_config, lambda part: _tokenizer(folder, part), index)


def _check_class(index: Mapping[str, Any], part: str, *, required: bool) -> None:
    """Every part that model_index.json names is of a class from the list: a folder cannot bring its own code."""
    label, classes = PARTS[part]
    entry = index.get(part)
    if not (isinstance(entry, list) and len(entry) == 2 and entry[1] is not None):
        if not required:
            return
        raise (MissingVae if part == "vae" else BadCheckpoint)(f"There is no {label} in this folder.")
    if entry[1] not in classes or entry[0] not in ("diffusers", "transformers"):
        given = f"{entry[0]!s:.60}.{entry[1]!s:.60}"
        raise BadCheckpoint(f"The {label} is of the class {given}; only {' or '.join(sorted(classes))} is loaded.")


def _config(folder: Path, part: str, file: str) -> dict[str, Any]:
    label = PARTS[part][0] if part in PARTS else part
    if not (folder / part).is_dir():
        raise (MissingVae if part == "vae" else BadCheckpoint)(f"There is no {label} in this folder.")
    config = read_json(folder / part / file)
    if config is None:
        raise BadCheckpoint(f"The {label} has no readable {file}.")
    if "auto_map" in config:
        raise BadCheckpoint(f"The {label} wants to run code of its own (auto_map), which is refused.")
    return config


def _folder_plan(folder: Path, part: str) -> Plan:
    """The plan of one part of a diffusers folder, its files' headers checked."""
    label = PARTS[part][0]
    config = _config(folder.parent, part, "config.json")
    files = weights_files(folder)
    if not files:
        pickles = any(folder.glob("*.bin"))
        reason = "only a pickle, which could run code and is not loaded" if pickles else "no .safetensors file"
        raise BadCheckpoint(f"The {label} cannot be loaded: there is {reason}.")
    sources: dict[str, Source] = {}
    for file in files:
        try:
            tensors = read_header(file)
        except BadCheckpoint as error:
            raise BadCheckpoint(f"The {label} cannot be loaded: {error}") from error
        for name, entry in tensors.items():
            if not name.endswith(IGNORED_KEYS):
                sources[_module_name(name, part)] = Source(file, entry)
    return Plan(part, config, sources)


def _module_name(name: str, part: str) -> str:
    """A folder's parameter by the name its class has for it today."""
    if part == "text_encoder":  # transformers 5.6 took a level out of CLIPTextModel
        return name.removeprefix("text_model.")
    return todays_name(name)


def vae_plan(path: Path, family: Family) -> Plan:
    """The plan of a VAE on its own: a diffusers folder, or a single file in the original or in diffusers' layout."""
    if path.is_dir():
        if (path / "model_index.json").is_file():  # a whole checkpoint
            return _folder_plan(path / "vae", "vae")
        return _folder_plan(path, "vae") if path.name == "vae" else _lone_vae_folder(path)
    facts = identify(path)
    if facts.kind not in ("vae", "checkpoint") or "vae" not in facts.parts or (facts.kind == "vae" and facts.reason):
        raise BadCheckpoint(_about(path, facts.reason) if facts.reason else f"{path.name} is no VAE.")
    tensors = read_header(path)
    starts = ("first_stage_model.", "vae.")
    prefix = next((p for p in starts if any(k.startswith(p) for k in tensors)), "")
    names = {k.removeprefix(prefix): k for k in tensors if k.startswith(prefix)}
    names = {k: v for k, v in names.items() if not k.startswith(("loss.", "model_ema."))}
    original = any(".mid.block_1." in name for name in names)
    levels = vae_levels(names)
    sources, strangers = {}, []
    for name, key in names.items():
        target = vae_name(name, levels) if original else todays_name(name)
        if target is None:
            strangers.append(key)
        else:
            sources[target] = Source(path, tensors[key])
    config = configs.family_config(family, "vae")
    try:
        config |= configs.vae_widths({k: s.shape for k, s in sources.items()})
    except (KeyError, IndexError, ValueError) as error:
        raise BadCheckpoint(f"{path.name} is no VAE that the studio knows: tensors are missing ({error}).") from error
    return Plan("vae", config, sources, tuple(strangers))


def _lone_vae_folder(folder: Path) -> Plan:
    config = read_json(folder / "config.json")
    if config is None or config.get("_class_name") != "AutoencoderKL":
        raise BadCheckpoint(f"The folder {folder.name} is no VAE: its config.json does not name AutoencoderKL.")
    sources: dict[str, Source] = {}
    for file in weights_files(folder):
        sources |= {todays_name(name): Source(file, entry) for name, entry in read_header(file).items()}
    if not sources:
        raise BadCheckpoint(f"There is no .safetensors file in the VAE folder {folder.name}.")
    return Plan("vae", config, sources)


# ---------------------------------------------------------------------------------------------------------- modules


def empty_module(plan: Plan) -> Any:
    """The part's module without memory, after every name and shape was compared with what the files hold."""
    label = PARTS[plan.part][0]
    try:
        _check_counts(plan.config)
        with torch.device("meta"):
            module = _make(plan.part, plan.config)
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        logger.warning("The %s could not be made from its config", label, exc_info=True)
        raise BadCheckpoint(f"The {label} cannot be loaded: its weights do not fit its config.json.") from error
    expected = dict(module.state_dict())
    missing = sorted(set(expected) - set(plan.sources))
    strangers = sorted(set(plan.sources) - set(expected)) + list(plan.strangers)
    for names, what in ((missing, "are missing"), (strangers, "do not belong there")):
        if names:
            shown = ", ".join(n[:80] for n in names[:3]) + (" and more" if len(names) > 3 else "")
            raise BadCheckpoint(f"These are no weights of this {label}: {len(names)} tensors {what} ({shown}).")
    wrong = [
        f"{name} is {_by(plan.sources[name].shape)} and should be {_by(tuple(value.shape))}"
        for name, value in expected.items()
        if not _fits(plan.sources[name].shape, tuple(value.shape))
    ]
    if wrong:
        raise BadCheckpoint(f"The {label} has tensors of the wrong shape: {'; '.join(w[:160] for w in wrong[:3])}.")
    return module.eval().requires_grad_(False)


def _make(part: str, config: Mapping[str, Any]) -> Any:
    """The module of a config. Only what the class's own constructor asks for is passed on."""
    kind = MODULES[part]
    if part in ("text_encoder", "text_encoder_2"):
        known = signatures.signature(CLIPTextConfig.__init__).parameters
        given = {k: v for k, v in config.items() if k in known and not k.startswith("_")}
        return kind(CLIPTextConfig(**given))
    return kind.from_config({k: v for k, v in config.items() if k != "quantization_config"})


def _check_counts(config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        counts = value if isinstance(value, list) else [value] if "layers" in key else []
        if len(counts) > MAX_LAYERS:
            raise ValueError(f"{key} has {len(counts)} entries")
        if "layers" in key and any(isinstance(n, int) and not 0 <= n <= MAX_LAYERS for n in counts):
            raise ValueError(f"{key} is {str(value)[:60]}")


def _fits(given: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Equal, or a 1x1 convolution where a linear layer is meant, as the original VAE's attention is."""
    return given == expected or (len(expected) == 2 and given == (*expected, 1, 1))


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape) or "one number"


def fill(module: Any, plan: Plan, device: torch.device, dtype: torch.dtype) -> None:
    """Read the weights into the module, each to its place on the device; several at once where there are cores. Where
    a file's precision is the CPU's already they stay in the file, if it can be held (leased_map.py)."""
    empties = dict([*module.named_parameters(), *module.named_buffers()])
    mapped = {file: leased(file) for file in {source.file for source in plan.sources.values()}}
    local, opened = threading.local(), ExitStack()

    def read(name: str) -> torch.Tensor | None:
        source = plan.sources.get(name)
        if source is None:
            return None
        if not hasattr(local, "files"):
            local.files = {}
        if source.file not in local.files:
            local.files[source.file] = opened.enter_context(WeightsFile(source.file, mapped[source.file]))
        wanted = dtype if empties[name].is_floating_point() else None
        tensor = local.files[source.file].read(source.entry, device=device, dtype=wanted, third=source.third)
        return (tensor.T.contiguous() if source.transposed else tensor).reshape(empties[name].shape)

    with opened, ThreadPoolExecutor(max(1, min(READERS, torch.get_num_threads()))) as pool:
        for name, tensor in zip(empties, pool.map(read, empties)):
            owner, leaf = module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
            if tensor is None:  # a buffer that is not saved
                if leaf != "position_ids":
                    raise BadCheckpoint(f"The {PARTS[plan.part][0]} needs {name}, which no file holds.")
                owner._buffers[leaf] = torch.arange(empties[name].shape[-1], device=device).expand((1, -1))
            elif leaf in owner._parameters:
                owner._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)
            else:
                owner._buffers[leaf] = tensor


def _native_size(blueprint: Blueprint, modules: Mapping[str, Any]) -> tuple[int, int]:
    facts = blueprint.facts
    if facts.form != "folder" and facts.native_width and facts.native_height:
        return facts.native_width, facts.native_height
    factor = 2 ** (len(modules["vae"].config.block_out_channels) - 1)
    sample_size = modules["unet"].config.sample_size
    side = sample_size * factor if isinstance(sample_size, int) else 512
    return side, side


def _tokenizer(folder: Path, part: str) -> Any:
    label = PARTS[part][0]
    if not (folder / part).is_dir():
        raise BadCheckpoint(f"There is no {label} in this folder.")
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / part, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for damaged files
        logger.warning("Loading the %s failed", label, exc_info=True)
        raise BadCheckpoint(f"The {label}'s files cannot be read.") from error
    return tokenizer


def _check_fit(modules: Mapping[str, Any], tokenizers: Mapping[str, Any]) -> None:
    """Parts of different models in one folder: say which do not fit, before a call fails in the middle."""
    unet, vae = modules["unet"], modules["vae"]
    if unet.config.in_channels not in (vae.config.latent_channels, 2 * vae.config.latent_channels + 1):
        channels = f"{unet.config.in_channels} channels, the VAE makes {vae.config.latent_channels}"
        raise BadCheckpoint(f"The U-Net does not fit the VAE: it takes {channels}.")
    encoders = [modules[part] for part in ("text_encoder", "text_encoder_2") if part in modules]
    width = sum(encoder.config.hidden_size for encoder in encoders)
    if unet.config.cross_attention_dim != width:
        given = f"{unet.config.cross_attention_dim} wide, the text encoder's are {width}"
        raise BadCheckpoint(f"The U-Net does not fit the text encoder: it takes embeddings {given}.")
    vocabularies = [tokenizer.get_vocab() for tokenizer in tokenizers.values()]
    if any(vocabulary != vocabularies[0] for vocabulary in vocabularies):  # prompts are cut by the first, for both
        raise BadCheckpoint("The two tokenizers do not fit each other: they know different tokens.")
    for part, tokenizer in tokenizers.items():
        if len(tokenizer) > modules[part.replace("tokenizer", "text_encoder")].config.vocab_size:
            raise BadCheckpoint("The tokenizer does not fit the text encoder: it knows more tokens.")


def _tiny_vae(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """The tiny decoder in the checkpoint's folder; None when there is none, or it is damaged: that costs one rung."""
    if not (folder / TINY_VAE).is_dir():
        return None
    try:
        tiny = load_tiny_vae(folder / TINY_VAE, device=device, dtype=dtype)
        return tiny.to(memory_format=torch.channels_last)  # a fifth quicker on a CPU, at a width of 16
    except (BadCheckpoint, OSError):
        logger.warning("The tiny decoder in %s cannot be used", folder.name, exc_info=True)
        return None


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
