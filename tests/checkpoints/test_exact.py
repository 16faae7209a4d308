"""A file of a family's exact original key layout loads, and its pictures are those of diffusers' own pipeline for that
family on the same file: prompts, pooled embeddings, micro-conditioning, schedulers, VAE."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image

from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.resolved import resolve
from studio.checkpoints import loader
from studio.checkpoints.identify import identify
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.denoisers import call_unet
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.latents import repaint_everything
from studio.diffusion.prompt import encode_prompts
from studio.families import configs
from studio.families.registry import FAMILIES
from tests.checkpoints.original import save_folder, save_original, tiny_family
from tests.diffusion.helpers import REFERENCE

SEED, STEPS = 77, 3
# Of pictures in [0, 1], an eightieth of an 8-bit step. Most are equal to the last bit; products of two or three rows
# are rounded by where their matrices happen to lie in memory.
ROUNDING = 5e-5
PROMPT, NEGATIVE = "a red apple, café 🍎 in the snow", "blurry"
SCHEDULERS = ("euler", "ddim", "dpmpp_2m")
SIZES = ((64, 64), (96, 64))
KINDS: dict[str, tuple[str, str, int, dict[str, str]]] = {  # name -> family, pipeline, channels, metadata
    "sd1": ("sd1", "StableDiffusionPipeline", 4, {}),
    "sd2 v": ("sd2", "StableDiffusionPipeline", 4, {"modelspec.prediction_type": "v"}),
    "sd2 epsilon": ("sd2", "StableDiffusionPipeline", 4, {"modelspec.architecture": "stable-diffusion-v2-512"}),
    "sd1 inpainting": ("sd1", "StableDiffusionInpaintPipeline", 9, {}),
    "sdxl": ("sdxl", "StableDiffusionXLPipeline", 4, {}),
    "sdxl v": ("sdxl", "StableDiffusionXLPipeline", 4, {"modelspec.prediction_type": "v"}),
    "sdxl inpainting": ("sdxl", "StableDiffusionXLInpaintPipeline", 9, {}),
    "sdxl refiner": ("sdxl_refiner", "StableDiffusionXLImg2ImgPipeline", 4, {}),
}


class Pair:
    """The same file loaded by us and by diffusers."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.family, pipeline, channels, metadata = KINDS[kind]
        self.modules = tiny_family(self.family, in_channels=channels)
        path = save_original(folder / "model.safetensors", self.family, self.modules, metadata=metadata)
        self.ours = load(path)
        reference = save_folder(folder / "configs", self.family, self.modules)
        kind_of = getattr(diffusers, pipeline)
        self.theirs = kind_of.from_single_file(str(path), config=str(reference), local_files_only=True)
        self.theirs.set_progress_bar_config(disable=True)
        # diffusers' weights are pages of the file, wherever in it they lie; matrices that do not begin at a multiple of
        # 64 bytes are multiplied by other kernels, which round differently. Ours do in files as
        # small as these, which are read and not mapped.
        align(self.theirs)


def align(pipeline: Any) -> None:
    for module in pipeline.components.values():
        for weight in module.parameters() if isinstance(module, torch.nn.Module) else ():
            weight.data = weight.data.clone()


def load(path: Path, **given: Any) -> Components:
    return loader.load(
        path,
        name="tiny",
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda message, fraction: None,
        fast_preview=(torch.zeros(192, 4, 3, 3), torch.zeros(192)),
        **given,
    )


SLOW = ("sd2 epsilon", "sdxl v", "sdxl inpainting")  # as their neighbours but for the prediction type, or the channels


@pytest.fixture(scope="module", params=[pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in KINDS])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("pair"), request.param)


@torch.inference_mode()
def run(components: Components, lane: Lane) -> torch.Tensor:
    while not lane.is_finished:
        call = lane.call()
        timestep = torch.full((len(call.sample),), call.timestep)
        added = dict(call.added_conditions) or None
        answer = components.unet(call.sample, timestep, call.prompt_embeds, added_cond_kwargs=added, return_dict=False)
        lane.advance(answer[0])
    return vae.decode(components, lane.latents)


def reference_scheduler(name: str, config: dict[str, Any]) -> Any:
    class_name, own = REFERENCE[name]
    return getattr(diffusers, class_name).from_config(config, **own)


def picture(width: int, height: int) -> Image.Image:
    gradient = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (gradient, gradient.rotate(180), gradient))


def test_every_weight_is_where_it_belongs(pair: Pair) -> None:
    for part, module in pair.modules.items():
        loaded = dict(pair.ours.part(part).named_parameters())
        assert set(loaded) == {name for name, _ in module.named_parameters()}
        for name, value in module.named_parameters():
            assert torch.equal(loaded[name], value), name


@pytest.mark.parametrize(
    ("size", "guidance"),
    [
        (SIZES[0], 6.0),
        (SIZES[1], 1.0),
        pytest.param(SIZES[0], 1.0, marks=pytest.mark.slow),
        pytest.param(SIZES[1], 6.0, marks=pytest.mark.slow),
    ],
)
def test_pictures_are_those_of_diffusers(pair: Pair, size: tuple[int, int], guidance: float) -> None:
    width, height = size
    refiner = pair.family == "sdxl_refiner"
    for scheduler in SCHEDULERS:
        # A second pass with an empty negative prompt: SDXL takes zeros for it, the others the embeddings of "".
        for negative in (NEGATIVE, "") if scheduler == "euler" and guidance > 1 else (NEGATIVE,):
            pair.theirs.scheduler = reference_scheduler(scheduler, pair.ours.scheduler_config)
            generator = torch.Generator().manual_seed(SEED)
            asked: dict[str, Any] = {"generator": generator, "num_inference_steps": STEPS, "guidance_scale": guidance}
            if refiner:
                asked |= {"image": (vae.from_picture(picture(width, height), width, height) + 1) / 2, "strength": 0.9}
            else:
                asked |= {"latents": torch.randn((1, 4, height // 8, width // 8), generator=generator)}
                asked |= {"width": width, "height": height}
            if pair.ours.in_channels == 9:
                grey = repaint_everything(pair.ours, width, height)[:, 1:]
                asked |= {"mask_image": torch.ones(1, 1, height, width), "masked_image_latents": grey, "strength": 1.0}
                asked |= {"image": torch.zeros(1, 3, height, width)}
            theirs = pair.theirs(prompt=PROMPT, negative_prompt=negative or None, output_type="pt", **asked).images
            request = TextToImage(
                prompt=PROMPT,
                negative_prompt=negative,
                width=width,
                height=height,
                scheduler=scheduler,
                noise_schedule="as_configured",
                num_inference_steps=STEPS,
                guidance_scale=guidance,
            )
            given: dict[str, Any] = {}
            if refiner:
                shared = {f.name for f in dataclasses.fields(ImageToImage)}
                values = {k: v for k, v in request.to_dict().items() if k in shared}
                request = ImageToImage(**values, image=b"below", strength=0.9)  # type: ignore[arg-type]
                given["picture"] = picture(width, height)
            steps = STEPS if not refiner else int(STEPS * 0.9)
            said = encode_prompts(pair.ours, PROMPT, negative, num_steps=steps, guidance_scale=guidance)
            ours = run(
                pair.ours,
                start_lane(pair.ours, resolve(request, pair.ours.suits), seed=SEED, conditioning=said, **given),
            )
            difference = ((ours * 0.5 + 0.5).clamp(0, 1) - theirs).abs().max().item()
            assert difference <= ROUNDING, f"{scheduler}, negative {negative!r}: {difference}"


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("nine"), "sdxl inpainting")


@torch.inference_mode()
@pytest.mark.parametrize("strength", [1.0, 0.7])
@pytest.mark.parametrize("scheduler", ["euler", pytest.param("ddim", marks=pytest.mark.slow)])
def test_a_painted_part_is_that_of_diffusers_with_sdxls_inpainting_unet(
    nine: Pair, strength: float, scheduler: str
) -> None:
    """Bit for bit. Its pipeline is handed the masked picture's latents without random numbers, as ours are."""
    width, height = SIZES[1]
    start, mask = picture(width, height), Image.new("L", (width, height), 0)
    mask.paste(255, (16, 8, 64, 40))  # on the latents' grid: diffusers looks at a cell's first pixel alone
    pixels, white = vae.from_picture(start, width, height), torch.zeros(1, 1, height, width, dtype=torch.bool)
    white[..., 8:40, 16:64] = True
    nine.theirs.scheduler = reference_scheduler(scheduler, nine.ours.scheduler_config)
    expected = nine.theirs(
        prompt=PROMPT, negative_prompt=NEGATIVE, image=(pixels + 1) / 2, mask_image=mask,
        masked_image_latents=vae.encode(nine.ours, pixels.masked_fill(white, 0.0)), width=width, height=height,
        strength=strength, generator=torch.Generator().manual_seed(SEED), num_inference_steps=4, guidance_scale=6.0,
        output_type="latent",
    ).images  # fmt: skip
    request = Inpaint(
        prompt=PROMPT, negative_prompt=NEGATIVE, image=b"above", mask=b"above", width=width, height=height,
        strength=strength, scheduler=scheduler, noise_schedule="as_configured", num_inference_steps=4,
        guidance_scale=6.0,
    )  # type: ignore[arg-type]  # fmt: skip
    steps = max(1, int(4 * strength))
    said = encode_prompts(nine.ours, PROMPT, NEGATIVE, num_steps=steps, guidance_scale=6.0)
    lane = start_lane(
        nine.ours, resolve(request, nine.ours.suits), seed=SEED, conditioning=said, picture=start, mask=mask
    )
    while not lane.is_finished:
        call = lane.call()
        timestep = torch.full((len(call.sample),), call.timestep)
        lane.advance(
            nine.ours.unet(
                call.sample,
                timestep,
                call.prompt_embeds,
                added_cond_kwargs=dict(call.added_conditions),
                return_dict=False,
            )[0]
        )
    assert torch.equal(lane.latents, expected), float((lane.latents - expected).abs().max())


def test_a_folder_is_loaded_to_the_same_weights(pair: Pair, tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "folder", pair.family, pair.modules, variant="fp16", shard="200KB")
    assert len(list((folder / "unet").glob("*.fp16-0000*-of-*.safetensors"))) > 1
    assert identify(folder).family == pair.family
    components = load(folder)
    for part, module in pair.modules.items():
        loaded = dict(components.part(part).named_parameters())
        for name, value in module.named_parameters():
            assert torch.equal(loaded[name], value), name


@pytest.mark.parametrize(
    ("scheduler", "few_steps"),
    [
        ("euler", False),
        ("ddim", True),
        pytest.param("ddim", False, marks=pytest.mark.slow),
        pytest.param("euler", True, marks=pytest.mark.slow),
    ],
)
def test_zero_terminal_snr_and_few_steps_begin_at_pure_noise(
    tmp_path_factory: pytest.TempPathFactory, scheduler: str, few_steps: bool
) -> None:
    folder = tmp_path_factory.mktemp("special")
    modules = tiny_family("sdxl")
    if few_steps:
        path = save_original(folder / "sdxl_lightning_4step.safetensors", "sdxl", modules)
        settings = {"timestep_spacing": "trailing"}
    else:
        markers = {"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}
        path = save_original(folder / "model.safetensors", "sdxl", modules, extra=markers)
        settings = {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    ours = load(path)
    reference = save_folder(folder / "configs", "sdxl", modules)
    theirs = diffusers.StableDiffusionXLPipeline.from_single_file(
        str(path), config=str(reference), local_files_only=True
    )
    theirs.set_progress_bar_config(disable=True)
    align(theirs)
    config = configs.family_config(FAMILIES["sdxl"], "scheduler") | settings
    assert {k: ours.scheduler_config[k] for k in settings} == settings
    theirs.scheduler = reference_scheduler(scheduler, config)
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn((1, 4, 8, 8), generator=generator)
    guidance = 1.0 if few_steps else 4.0
    expected = theirs(
        prompt=PROMPT, negative_prompt=NEGATIVE, latents=noise, generator=generator, num_inference_steps=4,
        guidance_scale=guidance, output_type="pt", width=64, height=64,
    ).images  # fmt: skip
    request = TextToImage(
        prompt=PROMPT, negative_prompt=NEGATIVE, width=64, height=64, scheduler=scheduler,
        noise_schedule="as_configured", num_inference_steps=4, guidance_scale=guidance,
    )  # type: ignore[arg-type]  # fmt: skip
    said = encode_prompts(ours, PROMPT, NEGATIVE, num_steps=4, guidance_scale=guidance)
    got = run(ours, start_lane(ours, resolve(request, ours.suits), seed=SEED, conditioning=said))
    assert float(((got * 0.5 + 0.5).clamp(0, 1) - expected).abs().max()) <= ROUNDING


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_a_lone_file_whose_unet_is_told_the_guidance_scale(family: str, tmp_path: Path) -> None:
    """LCM as one file: diffusers' converter writes the embedding's name as it is, and its loader cannot read it back;
    so the pipeline is made of the modules that the file was written from."""
    modules = tiny_family(family, guidance_width=16)
    path = save_original(tmp_path / "dreams.safetensors", family, modules)
    facts = identify(path)
    assert (facts.guidance_embedded, facts.distillation, facts.distillation_source) == (True, "lcm", "file")
    ours = load(path)
    assert ours.guidance_width == 16
    assert torch.equal(ours.unet.time_embedding.cond_proj.weight, modules["unet"].time_embedding.cond_proj.weight)
    reference = save_folder(tmp_path / "folder", family, modules)
    kind = {"sd1": diffusers.StableDiffusionPipeline, "sdxl": diffusers.StableDiffusionXLPipeline}[family]
    theirs = (
        kind.from_pretrained(reference, safety_checker=None) if family == "sd1" else kind.from_pretrained(reference)
    )
    theirs.set_progress_bar_config(disable=True)
    pictures = []
    for guidance in (1.0, 8.5):
        theirs.scheduler = reference_scheduler("euler", ours.scheduler_config)
        generator = torch.Generator().manual_seed(SEED)
        expected = theirs(
            prompt=PROMPT, latents=torch.randn((1, 4, 8, 8), generator=generator), generator=generator, width=64,
            height=64, num_inference_steps=STEPS, guidance_scale=guidance, output_type="pt",
        ).images  # fmt: skip
        request = TextToImage(
            prompt=PROMPT, width=64, height=64, scheduler="euler", noise_schedule="as_configured",
            num_inference_steps=STEPS, guidance_scale=guidance,
        )  # fmt: skip
        said = encode_prompts(ours, PROMPT, "", num_steps=STEPS, guidance_scale=guidance)
        lane = start_lane(ours, resolve(request, ours.suits), seed=SEED, conditioning=said)
        with torch.inference_mode():
            while not lane.is_finished:
                lane.advance(call_unet(ours, [lane.call()]))
        pictures.append((vae.decode(ours, lane.latents) * 0.5 + 0.5).clamp(0, 1))
        assert float((pictures[-1] - expected).abs().max()) <= ROUNDING
    assert not torch.equal(*pictures), "the scale is heard"


def test_sdxl_is_told_the_sizes_and_the_refiner_a_score() -> None:
    assert FAMILIES["sdxl"].size_numbers(96, 64) == (64, 96, 0, 0, 64, 96)
    assert FAMILIES["sdxl_refiner"].size_numbers(96, 64) == (64, 96, 0, 0, 6.0)
    assert FAMILIES["sdxl_refiner"].size_numbers(96, 64, negative=True) == (64, 96, 0, 0, 2.5)
