"""The table of fields: one row for each field of a request, and what must fit together between them.

Parsing, the page's controls, the API's arguments, metadata, links, the header of a recording and the key of encoded
prompts are derived from these rows. Names are diffusers'. A new field is a new row here, and the code that obeys it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal, Self, cast

from studio.asked.acting import (
    forecasts,
    has_variation,
    is_enlarged,
    is_made_twice,
    is_masked_only,
    is_upscaled,
    names_a_vae,
    own_second,
    skips,
    weights_otherwise,
)
from studio.asked.control import Control
from studio.asked.emphasis import EMPHASES, EmphasisName
from studio.asked.fitting import forecast_problems, guidance_problems, scheduler_problems, seed_problems
from studio.asked.forecast import FORECASTS, ForecastName
from studio.asked.guidance import METHODS, GuidanceMethodName
from studio.asked.guidance import acts as guides
from studio.asked.messages import Message
from studio.asked.noise_settings import acts
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.rows import Row, number, row, rows_of
from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS, NoiseScheduleName, SchedulerName
from studio.asked.upscale import NO_UPSCALER

SCHEMA_VERSION = 2  # of what `to_dict` writes; 1 knew no open fields

PreviewName = Literal["automatic", "fast", "tiny", "full"]
ResizeModeName = Literal["crop", "pad", "stretch", "fit"]
InpaintAreaName = Literal["whole", "masked"]
HiresUpscalerName = Literal["lanczos", "latent"]
MaskFillName = Literal["original", "noise", "edges"]

PREVIEWS: Mapping[str, str] = {"automatic": "Automatic", "fast": "Fast", "tiny": "Tiny", "full": "Full VAE"}
RESIZE_MODES: Mapping[str, str] = {"crop": "Crop", "pad": "Pad", "stretch": "Stretch", "fit": "Fit"}
HIRES_UPSCALERS: Mapping[str, str] = {"lanczos": "Lanczos", "latent": "Latent"}
INPAINT_AREAS: Mapping[str, str] = {"whole": "Whole picture", "masked": "Only masked"}
MASK_FILLS: Mapping[str, str] = {"original": "Original", "noise": "Noise", "edges": "Edge colours"}
SAMPLERS: Mapping[str, str] = {name: facts.label for name, facts in SCHEDULERS.items()}
AS_BEFORE = {"same": "Same as the first pass"}

MOST_PIXELS = 2048  # of a side
DEEPEST_ENCODER = 32  # layers of SDXL's second text encoder


NO_FILE = b"forgotten"  # stands where the file of a picture was
_guidance = partial(number, place="guidance", is_recorded=True, step=0)


@dataclass(frozen=True, kw_only=True)
class Making:
    """What every request has: a prompt to be made into pictures. Image k has seed + k.

    A field that is None is open: `seed` and `variation_seed` are drawn by the engine before `Started`, the others are
    what suits the checkpoint (`studio.asked.resolved`). With `variation_strength` v > 0 the noise of image k lies v of
    the way from that of `seed` to that of `variation_seed` + k (slerp, as A1111's "Extra"); all images then share
    `seed`. `exact`: every lane runs alone, so that the picture is bit-equal whoever else is there. `clip_skip`: the
    layer of the text encoders that is listened to, counted from the last one, which is 1. `emphasis`: how weights in
    the prompts are read and act. `controls`: ControlNets, acting together; their pictures are brought to the
    size that is made as the request's own is, without one cropped. `vae_name`: the VAE that encodes and decodes the
    pictures; "" for the one that the checkpoint runs with.
    `eta` to `noise_seed_delta` are `studio.asked.noise_settings`, `guidance_low` to `apg_momentum` `.guidance`,
    `forecast` `.forecast`.
    """

    kind: ClassVar[str] = ""

    prompt: str = row("text", encodes=True, is_recorded=True, place="prompt")
    negative_prompt: str = row("text", "", encodes=True, is_recorded=True, place="negative_prompt")
    checkpoint: str = row("name", "small-world-128", a1111="Model", is_recorded=True, place="checkpoint")
    width: int | None = number(
        64, MOST_PIXELS, None, whole=True, grid=8, suits=True, a1111="Size-1", is_recorded=True, place="size", step=0
    )
    height: int | None = number(
        64, MOST_PIXELS, None, whole=True, grid=8, suits=True, a1111="Size-2", is_recorded=True, place="size", step=0
    )
    num_inference_steps: int | None = number(1, 150, None, whole=True, suits=True, a1111="Steps", place="steps")
    guidance_scale: float | None = number(
        0, 30, None, suits=True, a1111="CFG scale", is_recorded=True, place="steps", step=0.1
    )
    seed: int | None = row("seed", None, a1111="Seed", place="seed")
    variation_strength: float = number(
        0, 1, 0.0, a1111="Variation seed strength", acts=has_variation, place="variation", step=0.01
    )
    variation_seed: int | None = row("seed", None, a1111="Variation seed", acts=has_variation, place="variation")
    scheduler: SchedulerName | None = row(
        "choice", None, choices=SAMPLERS, suits=True, a1111="Sampler", is_recorded=True, place="more"
    )
    noise_schedule: NoiseScheduleName | None = row(
        "choice", None, choices=NOISE_SCHEDULES, suits=True, a1111="Schedule type", is_recorded=True, place="more"
    )
    num_images_per_prompt: int = number(1, 16, 1, whole=True, effect="picture", place="more", is_compared=False)
    clip_skip: int | None = number(
        1, DEEPEST_ENCODER, None, whole=True, suits=True, stays_open=True, a1111="Clip skip", acts=skips, encodes=True,
        is_recorded=True, place="more", step=0,
    )  # fmt: skip
    emphasis: EmphasisName = row(
        "choice", "original", choices=EMPHASES, a1111="Emphasis", acts=weights_otherwise, encodes=True,
        is_recorded=True, place="more",
    )  # fmt: skip
    eta: float | None = number(
        0, 1, None, suits=True, stays_open=True, a1111="Eta", acts=acts("eta"), place="noise", is_compared=False, step=0
    )
    s_churn: float = number(
        0, 100, 0.0, a1111="Sigma churn", acts=acts("s_churn"), place="noise", is_compared=False, step=0
    )
    s_tmin: float = number(
        0, 1000, 0.0, a1111="Sigma tmin", acts=acts("s_tmin"), place="noise", is_compared=False, step=0
    )
    s_tmax: float = number(
        0, 1000, 0.0, a1111="Sigma tmax", acts=acts("s_tmax"), place="noise", is_compared=False, step=0
    )
    s_noise: float = number(
        0, 2, 1.0, a1111="Sigma noise", acts=acts("s_noise"), place="noise", is_compared=False, step=0
    )
    noise_seed_delta: int = number(
        0, 2**31 - 1, 0, whole=True, a1111="ENSD", acts=acts("noise_seed_delta"), place="noise", is_compared=False,
        step=0,
    )  # fmt: skip
    guidance_low: float = _guidance(0, 1000, 0.0, a1111="Guidance sigma min", acts=guides("guidance_low"))
    guidance_high: float = _guidance(0, 1000, 0.0, a1111="Guidance sigma max", acts=guides("guidance_high"))
    guidance_rescale: float = _guidance(0, 1, 0.0, a1111="CFG Rescale phi", acts=guides("guidance_rescale"))
    guidance_method: GuidanceMethodName = row(
        "choice", "cfg", choices=METHODS, a1111="Guidance method", acts=guides("guidance_method"), is_recorded=True,
        place="guidance",
    )  # fmt: skip
    apg_eta: float = _guidance(0, 1, 0.0, a1111="APG eta", acts=guides("apg_eta"))
    apg_norm: float = _guidance(0, 1000, 15.0, a1111="APG norm threshold", acts=guides("apg_norm"))
    apg_momentum: float = _guidance(-1, 1, -0.5, a1111="APG momentum", acts=guides("apg_momentum"))
    forecast: ForecastName = row(
        "choice", "off", choices=FORECASTS, a1111="Forecast", acts=forecasts, is_recorded=True, place="more"
    )
    preview: PreviewName = row(
        "choice", "automatic", choices=PREVIEWS, effect="cosmetic", place="more", is_compared=False
    )
    exact: bool = row("flag", False, is_recorded=True, effect="cosmetic", place="more", is_compared=False)
    vae_name: str = row(
        "name", "", optional=True, a1111="VAE", acts=names_a_vae, is_recorded=True, place="vae", is_compared=False
    )
    controls: tuple[Control, ...] = row("controls", (), place="controls")

    def __post_init__(self) -> None:
        problems = self.problems()
        if problems:
            raise InvalidRequest(*problems)

    @classmethod
    def rows(cls) -> Mapping[str, Row]:
        """The rows of this kind of request, by name."""
        return rows_of(cast(Hashable, cls))

    @classmethod
    def files(cls) -> tuple[str, ...]:
        """The fields that hold the bytes of a picture's file."""
        return tuple(name for name, one in cls.rows().items() if one.kind == "file")

    def problems(self) -> list[Problem]:
        """Everything that is wrong with the fields, in their order; empty when the request is valid."""
        problems = [problem for name, one in self.rows().items() for problem in one.problems(getattr(self, name))]
        problem_fields = {problem.field for problem in problems}
        checks = (scheduler_problems, seed_problems, guidance_problems, forecast_problems)
        together = [problem for check in checks for problem in check(vars(self))]
        problems += [p for p in together if p.field not in problem_fields]
        return problems

    @classmethod
    def parse(cls, source: Mapping[str, object]) -> Self:
        """The gate for values from outside: names, unset fields and text seeds are understood, the rest is refused.

        Strings for numbers ("20" steps), fractions of whole numbers, null for a field that has no empty meaning and
        unknown fields are refused. Raises InvalidRequest with every problem found.
        """
        rows = cls.rows()
        problems = [
            Problem(name, quoted_value(source[name]), Message("the fields {rows}", rows=", ".join(rows)))
            for name in source
            if name not in rows
        ]
        values: dict[str, object] = {}
        for name, one in rows.items():
            if name in source:
                values[name] = one.read(source[name], problems)
            elif one.is_required and one.kind != "file":
                problems.append(Problem(name, Message("nothing"), Message("this field is needed")))
                values[name] = None
        shadow = object.__new__(cls)  # the fields without the check, to report all problems in one message
        for name, one in rows.items():
            object.__setattr__(shadow, name, values.get(name, one.default))
        problem_fields = {p.field for p in problems}
        problems += [p for p in shadow.problems() if p.field not in problem_fields]
        if problems:
            raise InvalidRequest(*problems)
        return cls(**values)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        """Every field by name, with `kind` and `schema`; JSON-able, and `request_from_dict` reads it back equal.

        A picture is named by its hash, since metadata should not hold a second picture. Without controls there is no
        word of them.
        """
        values: dict[str, object] = {"schema": SCHEMA_VERSION, "kind": self.kind}
        without = (*self.files(), "controls")
        values |= {name: getattr(self, name) for name in self.rows() if name not in without}
        if self.controls:
            values["controls"] = [control.to_dict() for control in self.controls]
        hashes = {f"{name}_sha256": hashlib.sha256(getattr(self, name)).hexdigest() for name in self.files()}
        return values | hashes

    @property
    def file_bytes(self) -> int:
        """Of the pictures that came with it."""
        files = [getattr(self, name) for name in self.files()] + [control.image for control in self.controls]
        return sum(len(file) for file in files if file != NO_FILE)

    def without_pictures(self) -> Self:
        """A copy that has forgotten its pictures, for the record of a run that is over: it is as valid as before, and
        could not be run again."""
        if not self.files() and not self.controls:
            return self
        files = {name: NO_FILE for name in self.files() if getattr(self, name)}
        controls = tuple(replace(control, image=NO_FILE) for control in self.controls)
        return replace(self, controls=controls, **files)  # type: ignore[arg-type]

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class TextToImage(Making):
    """Pictures from words alone.

    `hires_scale` above 1: the picture is made at `width` x `height` and scaled up by `hires_upscaler`. A second pass
    runs from there at `hires_strength`: that share of `hires_steps` steps (0: as many as before). It has the prompts,
    scheduler, noise schedule and guidance of the first, unless it is given its own. `upscaler_name`: the learned
    upscaler that enlarges the decoded picture in between, before Lanczos brings it to its size; "" for none.
    `upscale`: what enlarges the finished picture, see `studio.asked.upscale`; the latents and their record stay as
    they are.
    """

    kind: ClassVar[str] = "text_to_image"

    hires_scale: float = number(
        1, 4, 1.0, a1111="Hires upscale", acts=is_made_twice, place="hires", is_compared=False, step=0.25
    )
    hires_upscaler: HiresUpscalerName = row(
        "choice", "lanczos", choices=HIRES_UPSCALERS, a1111="Hires upscaler", acts=is_made_twice, place="hires",
        is_compared=False,
    )  # fmt: skip
    upscaler_name: str = row("name", "", optional=True, acts=is_enlarged, place="upscaler", is_compared=False)
    upscale: str = row(
        "name", NO_UPSCALER, a1111="Postprocess upscaler", acts=is_upscaled, place="upscaler", is_compared=False
    )
    hires_strength: float = number(
        0, 1, 0.6, a1111="Denoising strength", acts=is_made_twice, place="hires", is_compared=False, step=0.01
    )
    hires_steps: int = number(
        0, 150, 0, whole=True, a1111="Hires steps", acts=is_made_twice, place="hires", is_compared=False
    )
    hires_prompt: str = row(
        "text", "", a1111="Hires prompt", acts=own_second("hires_prompt"), place="hires_own", is_compared=False
    )
    hires_negative_prompt: str = row(
        "text", "", a1111="Hires negative prompt", acts=own_second("hires_negative_prompt"), place="hires_own",
        is_compared=False,
    )  # fmt: skip
    hires_scheduler: SchedulerName | Literal["same"] = row(
        "choice", "same", choices=AS_BEFORE | dict(SAMPLERS), a1111="Hires sampler",
        acts=own_second("hires_scheduler"), place="hires_own", is_compared=False,
    )  # fmt: skip
    hires_noise_schedule: NoiseScheduleName | Literal["same"] = row(
        "choice", "same", choices=AS_BEFORE | dict(NOISE_SCHEDULES), a1111="Hires schedule type",
        acts=own_second("hires_noise_schedule"), place="hires_own", is_compared=False,
    )  # fmt: skip
    hires_guidance_scale: float | None = number(
        0, 30, None, suits=True, stays_open=True, a1111="Hires CFG Scale", acts=own_second("hires_guidance_scale"),
        place="hires_own", is_compared=False, step=0,
    )  # fmt: skip

    def problems(self) -> list[Problem]:
        problems = super().problems()
        if problems:
            return problems
        scheduler = self.scheduler if self.hires_scheduler == "same" else self.hires_scheduler
        facts = SCHEDULERS[scheduler] if scheduler is not None else None
        steps = self.hires_steps or (self.num_inference_steps or 0 if self.has_second_pass else 0)
        if facts is not None and steps > facts.max_steps:
            expectation = (
                Message("with {scheduler} whole numbers from 0 to {last}", scheduler=facts.label, last=facts.max_steps)
                if self.hires_steps
                else Message(
                    "with {scheduler} whole numbers from 1 to {last}", scheduler=facts.label, last=facts.max_steps
                )
            )
            problems.append(Problem("hires_steps", str(self.hires_steps), expectation))
        if facts is not None and self.hires_noise_schedule not in ("same", *facts.noise_schedules):
            able = self.rows()["hires_noise_schedule"].one_of(("same", *facts.noise_schedules))
            label = NOISE_SCHEDULES[self.hires_noise_schedule]
            expectation = Message("with {scheduler} {able}", scheduler=facts.label, able=able)
            problems.append(Problem("hires_noise_schedule", label, expectation))
        largest = max(self.width or 0, self.height or 0)
        if self.has_second_pass and largest * self.hires_scale > MOST_PIXELS:
            expectation = Message(
                "with a side of {largest} pixels numbers from 1 to {most_pixels}",
                largest=largest,
                most_pixels=f"{MOST_PIXELS / largest:.3g}",
            )
            problems.append(Problem("hires_scale", f"{self.hires_scale:g}", expectation))
        return problems

    @property
    def has_second_pass(self) -> bool:
        """Whether there is a second pass."""
        return self.hires_scale > 1

    def hires_size(self, width: int, height: int) -> tuple[int, int]:
        """The size of the second pass, on the grid and within the range."""
        sides = (round(side * self.hires_scale / 8) * 8 for side in (width, height))
        width, height = (min(side, MOST_PIXELS) for side in sides)
        return width, height


@dataclass(frozen=True, kw_only=True)
class ImageToImage(Making):
    """A picture to start from: `image` holds the bytes of a PNG, JPEG, WebP or GIF file (it is decoded by the engine).

    Runs int(num_inference_steps * strength) steps, as diffusers does; strength 0 gives the picture back through the
    VAE.
    `width`, `height` and `resize_mode` say what size is made of it, in which way, by the rule in
    studio/picture/framing.py.
    """

    kind: ClassVar[str] = "image_to_image"

    image: bytes = row("file", b"", place="picture")
    strength: float = number(0, 1, 0.6, a1111="Denoising strength", place="strength", step=0.01)
    resize_mode: ResizeModeName = row(
        "choice", "crop", choices=RESIZE_MODES, effect="picture", place="resize", is_compared=False
    )


@dataclass(frozen=True, kw_only=True)
class Inpaint(ImageToImage):
    """A picture of which one part is made anew: where `mask` (a picture of its aspect) is white, and where the canvas
    is extended. Everything further than `mask_blur` pixels from there comes out as it went in, to the last bit.

    `mask` may be empty when the canvas is extended. `inpaint_area` "masked" gives the model only the painted part with
    `padding` pixels around it, at its full size. `mask_fill`: what lies under the mask when the run begins.
    """

    kind: ClassVar[str] = "inpaint"

    mask: bytes = row("file", b"", optional=True, place="picture")
    strength: float = number(0, 1, 1.0, a1111="Denoising strength", place="strength", step=0.01)
    mask_blur: int = number(0, 128, 4, whole=True, a1111="Mask blur", effect="picture", place="seam")
    inpaint_area: InpaintAreaName = row("choice", "whole", choices=INPAINT_AREAS, a1111="Inpaint area", place="mask")
    mask_fill: MaskFillName = row("choice", "original", choices=MASK_FILLS, a1111="Masked content", place="mask")
    padding: int = number(0, 512, 32, whole=True, a1111="Masked area padding", acts=is_masked_only, place="seam")
    extend_left: int = number(0, 1024, 0, whole=True, place="extend", step=0)
    extend_right: int = number(0, 1024, 0, whole=True, place="extend", step=0)
    extend_up: int = number(0, 1024, 0, whole=True, place="extend", step=0)
    extend_down: int = number(0, 1024, 0, whole=True, place="extend", step=0)

    def problems(self) -> list[Problem]:
        problems = super().problems()
        if self.mask == b"" and not any(self.extensions):
            problems.append(Problem("mask", Message("nothing"), Message("a painted mask, or an extended canvas")))
        return problems

    @property
    def extensions(self) -> tuple[int, int, int, int]:
        """Pixels added on the left, above, on the right, below (in the order of a box)."""
        return self.extend_left, self.extend_up, self.extend_right, self.extend_down
