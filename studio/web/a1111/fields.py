"""AUTOMATIC1111's fields of a run: which field of a request each one is, and what becomes of those that are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from studio.asked.problems import quoted_value

# Fields of both studios that differ in nothing but the name.
SAME: Mapping[str, str] = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "subseed": "variation_seed",
    "subseed_strength": "variation_strength",
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "eta": "eta",
    "s_churn": "s_churn",
    "s_tmin": "s_tmin",
    "s_tmax": "s_tmax",
    "s_noise": "s_noise",
    "width": "width",
    "height": "height",
    "hr_scale": "hires_scale",
    "hr_second_pass_steps": "hires_steps",
    "hr_prompt": "hires_prompt",
    "hr_negative_prompt": "hires_negative_prompt",
    "mask_blur": "mask_blur",
    "inpaint_full_res_padding": "padding",
}
# What a problem with a field of ours is called there.
THEIR_NAMES: Mapping[str, str] = {ours: theirs for theirs, ours in SAME.items()} | {
    "checkpoint": "sd_model_checkpoint",
    "clip_skip": "CLIP_stop_at_last_layers",
    "vae_name": "sd_vae",
    "noise_seed_delta": "eta_noise_seed_delta",
    "emphasis": "emphasis",
    "scheduler": "sampler_name",
    "noise_schedule": "scheduler",
    "num_images_per_prompt": "batch_size",
    "strength": "denoising_strength",
    "hires_strength": "denoising_strength",
    "hires_upscaler": "hr_upscaler",
    "upscaler_name": "hr_upscaler",
    "hires_scheduler": "hr_sampler_name",
    "hires_noise_schedule": "hr_scheduler",
    "image": "init_images",
    "inpaint_area": "inpaint_full_res",
    "mask_fill": "inpainting_fill",
    "controls": "alwayson_scripts",
}

# Abilities that the studio lacks: any value but these would change the picture, so it is refused.
LACKING: Mapping[str, tuple[object, ...]] = {
    "seed_resize_from_h": (-1, 0),
    "seed_resize_from_w": (-1, 0),
    "restore_faces": (False,),
    "tiling": (False,),
    "s_min_uncond": (0,),
    "refiner_checkpoint": ("", "None"),
    "disable_extra_networks": (False,),
    "firstpass_image": ("",),
    "script_name": ("", "None"),
    "initial_noise_multiplier": (1,),
    "latent_mask": ("",),
    "mask_round": (True,),
}
# The same, of a second pass; without one they say nothing.
LACKING_HIRES: Mapping[str, tuple[object, ...]] = {
    "firstphase_width": (0,),
    "firstphase_height": (0,),
    "hr_checkpoint_name": ("", "None", "Use same checkpoint"),
}
# Fields that one of the two addresses has alone.
OF_IMG2IMG = frozenset(
    {
        "init_images", "mask", "resize_mode", "mask_blur", "mask_blur_x", "mask_blur_y", "mask_round", "latent_mask",
        "inpainting_fill", "inpaint_full_res", "inpaint_full_res_padding", "inpainting_mask_invert",
        "include_init_images", "initial_noise_multiplier", "image_cfg_scale",
    }
)  # fmt: skip
OF_TXT2IMG = frozenset(
    {
        "enable_hr",
        "hr_scale",
        "hr_upscaler",
        "hr_second_pass_steps",
        "hr_resize_x",
        "hr_resize_y",
        *LACKING_HIRES,
        "hr_prompt",
        "hr_negative_prompt",
        "hr_sampler_name",
        "hr_scheduler",
    }
)
# Fields that say nothing of the picture here, whatever their value: they belong to another one that is refused, to
# models of another kind, or are looked at elsewhere.
WITHOUT_EFFECT = frozenset(
    {
        "refiner_switch_at", "script_args", "image_cfg_scale", "do_not_save_grid",
        "sampler_index", "mask_blur_x", "mask_blur_y",
    }
)  # fmt: skip
# Fields that are read one by one (`studio.web.a1111.reading`).
READ = frozenset(
    {
        "sampler_name", "scheduler", "batch_size", "n_iter", "denoising_strength", "enable_hr", "hr_upscaler",
        "hr_resize_x", "hr_resize_y", "hr_sampler_name", "hr_scheduler",
        "init_images", "mask", "resize_mode", "inpainting_fill", "inpaint_full_res",
        "inpainting_mask_invert", "include_init_images", "send_images", "override_settings",
        "override_settings_restore_afterwards", "alwayson_scripts", "infotext", "styles",
    }
)  # fmt: skip
# Fields whose value changes no picture, and is not obeyed: why, for the answer that names them.
NOT_OBEYED: Mapping[str, tuple[tuple[object, ...], str]] = {
    "save_images": ((True,), "Every picture is saved among its visitor's own."),
    "do_not_save_samples": ((False,), "Every picture is saved among its visitor's own."),
    "force_task_id": (("",), "A run is found by its visitor: /sdapi/v1/progress needs no id."),
    "comments": (({},), "Nothing is added to the text that a picture holds."),
}
KNOWN = frozenset((*SAME, *LACKING, *LACKING_HIRES, *WITHOUT_EFFECT, *READ, *NOT_OBEYED))


@dataclass(frozen=True)
class Notice:
    """A setting that was not obeyed, or taken otherwise than it may be meant: its name there, its value, and why."""

    field: str
    value: str
    why: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def notice(field: str, value: object, why: str) -> Notice:
    """A notice whose value is fit to be shown."""
    return Notice(field, quoted_value(value), why)


def is_one_of(value: object, allowed: tuple[object, ...]) -> bool:
    """Whether a value is one of these; null stands for the usual one."""
    return value is None or value in allowed
