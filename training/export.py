"""Runs => `models/small-world-128`: fp16 safetensors in diffusers layout, the fast preview, and world.json.

python -m training.export                                 # the runs' state as it is, also in mid-run
python -m training.export --tiny training/runs/tiny       # the tiny decoder alone
python -m training.export --control training/runs/control # the ControlNet alone
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel

from studio.checkpoints.loader import TINY_VAE
from studio.checkpoints.other_headers import LATENTS_OF
from studio.diffusion.preview import fit_fast_preview
from training.coupling import load_coupling, save_coupling
from training.encode_latents import encoder_misfit, load_latents, load_vae
from training.pictures import Settings
from training.schedule import SCHEDULER
from training.segmentation import ANYTHING, CONTROL, NOTHING, palette
from training.state import load_state
from training.tokenizer import load_tokenizer
from training.train_control import ControlConfig, make_control
from training.train_tiny import HeldOut, TinyConfig, load_tiny, make_tiny
from training.train_unet import make_text_encoder, make_unet, read_config
from training.world import (
    BACKGROUND_SYNONYMS,
    BACKGROUNDS,
    OBJECTS,
    PLACES,
    RELATIONS,
    SCENES,
    SIZE,
    SIZE_WORDS,
    STYLES,
    WITHOUT_ARTICLE,
)
from training.world_pictures import RUNS, picture_batch

NAME = "small-world-128"
CHECKPOINT = Path("models") / NAME
MAX_SHARD = "15MB"  # the U-Net is one file of 14.6 MB; no file may pass 15 MiB
MISFIT = 0.1  # RMS of latents; the U-Net must be decoded by the autoencoder whose latents it has learned
STRANGE = 18.0  # dB to the autoencoder's decoding, below which a tiny decoder knows other latents
FIT_SEED, FIT_COUNT = 3, 128  # pictures that the fast preview is fitted on

MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

EXAMPLES = [
    "a red apple in the snow",
    "a fox in a meadow",
    "a star in the night sky",
    "a red car in the desert",
    "a slice of pizza on a blue background",
    "a big sunflower in a meadow",
    "a penguin, yellow background",
    "a ladybug on a white background",
    "a rocket in the night sky",
    "a strawberry on a yellow background",
    "a cat on a green background",
    "a tree in a meadow",
    "a banana on a purple background",
    "a lemon at sunset",
    "a snowman in the snow",
    "a big crown on a purple background",
]

TEMPLATES = [
    "a {object} {scene}",
    "a {object} on a {background} background",
    "a {size} {object} {scene}",
    "a {size} {object} on a {background} background",
    "a {object} {place} on a {background} background",
    "a {object} {relation} a {object} on a {background} background",
    "a {object} {scene}, {style}",
]


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def world_words() -> dict[str, object]:
    """What world.json says: the words the model knows, and prompts that work well.

    `label`, `note`, `examples` and `words` are what the catalogue reads; the rest is for the prompt helper. A
    template's "a" before a vowel becomes "an", and before names in `without_article` nothing.
    """
    flat = [*OBJECTS, *BACKGROUNDS, *SCENES, *(word for words in SIZE_WORDS.values() for word in words[:1])]
    flat += [words[0] for words in PLACES.values() if words]
    flat += [words[0] for words in RELATIONS.values()] + [words[0] for words in STYLES.values() if words]
    return {
        "name": NAME,
        "label": "Small World 128",
        "note": f"Drawn objects on flat colours and in six scenes. It knows {len(OBJECTS)} objects and nothing else.",
        "native_size": SIZE,
        "num_inference_steps": Settings.steps,
        "guidance_scale": Settings.guidance_scale,
        "examples": EXAMPLES,
        "words": flat,
        "objects": [{"name": name, "synonyms": list(words)} for name, words in OBJECTS.items()],
        "without_article": sorted(WITHOUT_ARTICLE),
        "backgrounds": [{"name": name, "synonyms": list(BACKGROUND_SYNONYMS.get(name, ()))} for name in BACKGROUNDS],
        "scenes": [{"name": name, "phrases": list(phrases)} for name, phrases in SCENES.items()],
        "relations": [{"name": name, "phrases": list(phrases)} for name, phrases in RELATIONS.items()],
        "sizes": [{"name": name, "words": list(words)} for name, words in SIZE_WORDS.items() if words],
        "places": [{"name": name, "phrases": list(phrases)} for name, phrases in PLACES.items() if phrases],
        "styles": [{"name": name, "words": list(words)} for name, words in STYLES.items() if words],
        "templates": TEMPLATES,
    }


@torch.inference_mode()
def fit_preview(vae: AutoencoderKL, count: int = FIT_COUNT) -> tuple[torch.Tensor, torch.Tensor]:
    """The fast preview of this autoencoder, fitted on `count` fresh pictures."""
    pixels = picture_batch(FIT_SEED, range(count))
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(16)])
    return fit_fast_preview(latents * vae.config.scaling_factor, pixels)


def export(
    folder: Path,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    fit_count: int = FIT_COUNT,
) -> None:
    """Writes the whole checkpoint folder but for its tokenizer.

    `vae.config.scaling_factor` must be the one that the U-Net was trained with.
    """
    write_json(folder / "model_index.json", MODEL_INDEX)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_json(folder / "world.json", world_words())
    weight, bias = fit_preview(vae, fit_count)
    for part, model in (("vae", vae), ("unet", unet), ("text_encoder", text_encoder)):
        for old in (folder / part).glob("*.safetensors*"):
            old.unlink()
        model.half().save_pretrained(folder / part, max_shard_size=MAX_SHARD)
        model.float()
    preview = {"weight": weight.half().contiguous(), "bias": bias.half().contiguous()}
    save_file(preview, folder / "vae" / "fast_preview.safetensors")


def export_tiny(run: Path, folder: Path) -> dict[str, float]:
    """Writes a run's tiny decoder into the checkpoint `folder`, fp16, and its config; its PSNR.

    Raises ValueError when it does not know the latents of the autoencoder there.
    """
    state = load_state(run / "state.pt")
    if state is None:
        raise FileNotFoundError(f"{run}/state.pt is missing: run python -m training.train_tiny first")
    settings = json.loads((run / "config.json").read_text(encoding="utf-8"))
    tiny = make_tiny(TinyConfig(**settings))
    tiny.load_state_dict(state["tiny"])
    vae = load_vae(folder)
    figures = HeldOut(vae, vae.config.scaling_factor).figures(tiny)
    if figures["psnr"] < STRANGE:
        raise ValueError(f"{run} knows other latents than those of {folder}: {figures['psnr']:.1f} dB")
    out = folder / TINY_VAE
    out.mkdir(parents=True, exist_ok=True)
    tiny.save_config(out)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    write_json(out / "config.json", config | {LATENTS_OF: folder.name})
    weights = {name: value.half().contiguous() for name, value in tiny.state_dict().items()}
    save_file(weights, out / "diffusion_pytorch_model.safetensors", metadata={"format": "pt", LATENTS_OF: folder.name})
    write_json(out / "training_config.json", settings)
    return figures


def export_control(run: Path, folder: Path) -> int:
    """Writes a run's ControlNet (the averaged weights, fp16), the colours of its maps and its config into the
    checkpoint `folder`; the run's step."""
    state = load_state(run / "state.pt")
    if state is None:
        raise FileNotFoundError(f"{run}/state.pt is missing: run python -m training.train_control first")
    settings = json.loads((run / "config.json").read_text(encoding="utf-8"))
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32)
    control = make_control(unet, ControlConfig(**settings))
    control.load_state_dict(state["average"]["weights"])
    out = folder / CONTROL
    control.half().save_pretrained(out)
    write_json(out / "palette.json", map_colors())
    write_json(out / "training_config.json", settings)
    return int(state["step"])


def map_colors() -> dict[str, object]:
    """What palette.json says: the colours of the maps, as the studio reads them (studio/checkpoints/palette.py)."""
    objects = {name: "#{:02x}{:02x}{:02x}".format(*color) for name, color in palette().items()}
    nothing, anything = ("#{:02x}{:02x}{:02x}".format(*color) for color in (NOTHING, ANYTHING))
    return {"nothing": nothing, "anything": anything, "objects": objects}


def drop_strange_tiny(folder: Path, vae: AutoencoderKL) -> bool:
    """Removes the tiny decoder of a checkpoint whose autoencoder has new latents. Whether there was such a one."""
    if not (folder / TINY_VAE).is_dir():
        return False
    if HeldOut(vae, vae.config.scaling_factor, 8).figures(load_tiny(folder))["psnr"] >= STRANGE:
        return False
    shutil.rmtree(folder / TINY_VAE)
    return True


def export_runs(vae_from: Path, latents: Path, unet_run: Path, out: Path, fit_count: int = FIT_COUNT) -> int:
    """Writes what the runs have learned so far to `out`, vocabulary and scaling factor included; the U-Net's step.

    Raises ValueError when the latents that the U-Net was trained on are not this autoencoder's.
    """
    vae = load_vae(vae_from)
    cached = load_latents(latents)
    state = load_state(unet_run / "state.pt")
    if state is None:
        raise FileNotFoundError(f"{unet_run}/state.pt is missing: run python -m training.train_unet first")
    if encoder_misfit(vae, cached) > MISFIT:
        raise ValueError(f"the latents in {latents} are not of the encoder in {vae_from}")
    vae.register_to_config(scaling_factor=cached.scaling_factor)
    config = read_config(unet_run / "config.json")
    unet = make_unet(config)
    text_encoder = make_text_encoder(config, load_tokenizer(unet_run / "tokenizer"))
    weights = state["average"]["weights"]
    for name, module in (("unet", unet), ("text_encoder", text_encoder)):
        prefix = f"{name}."
        module.load_state_dict({key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)})
    shutil.copytree(unet_run / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    export(out, vae, unet, text_encoder, fit_count)
    write_json(out / "training_config.json", json.loads((unet_run / "config.json").read_text(encoding="utf-8")))
    save_coupling(load_coupling(unet_run), out)  # a later run must go on with it
    if drop_strange_tiny(out, vae):
        print(f"{out / TINY_VAE} knew other latents and is gone: run python -m training.train_tiny anew")
    return int(state["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, default=RUNS / "autoencoder", help="a run's folder or a checkpoint's")
    parser.add_argument("--latents", type=Path, default=RUNS / "latents.pt", help="knows the scaling factor")
    parser.add_argument("--unet", type=Path, default=RUNS / "unet", help="the run's folder")
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--tiny", type=Path, help="a run of train_tiny, to export that alone")
    parser.add_argument("--control", type=Path, help="a run of train_control, to export that alone")
    options = parser.parse_args()
    if options.control is not None:
        print(f"step {export_control(options.control, options.out)} => {options.out / CONTROL}")
        return
    if options.tiny is not None:
        print(json.dumps(export_tiny(options.tiny, options.out)))
        return
    step = export_runs(options.vae, options.latents, options.unet, options.out)
    print(f"step {step} => {options.out}")


if __name__ == "__main__":
    main()
