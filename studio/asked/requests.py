"""What is asked: frozen, validated requests, and the one table of ranges and names that page, API and messages share.

Plain data: no torch, no page, no disk. A request that exists is valid; `parse` is the gate for everything that comes
from outside (page, API, PNG metadata) and reports every bad field at once.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import ClassVar, Literal, Self, get_args

SCHEMA_VERSION = 1

# ---------------------------------------------------------------------------------------------------- ranges


@dataclass(frozen=True, kw_only=True)
class Range:
    """Inclusive range of a number field; `step` is the grid it must lie on (counted from zero), None for any."""

    low: float
    high: float
    step: int | None = None
    whole: bool = False

    def describe(self) -> str:
        """The allowed values in words, for messages and help texts."""
        kind = "whole numbers" if self.whole else "numbers"
        grid = f" in multiples of {self.step}" if self.step not in (None, 1) else ""
        return f"{kind} from {self.low:g} to {self.high:g}{grid}"

    def holds(self, value: object) -> bool:
        """True for a finite number inside the range; bool is not a number here, and NaN is nowhere."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        if not math.isfinite(value) or not self.low <= value <= self.high:
            return False
        return self.step is None or value % self.step == 0


MAX_SEED = 2**63 - 1
RANDOM_SEEDS = 2**32  # as many as other studios draw from, so that a drawn seed can be typed anywhere
MAX_PROMPT_CHARACTERS = 20_000
MAX_IMAGE_BYTES = 20 * 2**20

RANGES: Mapping[str, Range] = {
    "num_inference_steps": Range(low=1, high=150, whole=True),
    "guidance_scale": Range(low=1, high=30),
    "width": Range(low=64, high=2048, step=8, whole=True),
    "height": Range(low=64, high=2048, step=8, whole=True),
    "num_images_per_prompt": Range(low=1, high=16, whole=True),
    "strength": Range(low=0, high=1),
    "variation_strength": Range(low=0, high=1),
    "hires_scale": Range(low=1, high=4),
    "hires_steps": Range(low=0, high=150, whole=True),
    "hires_strength": Range(low=0, high=1),
    "mask_blur": Range(low=0, high=128, whole=True),
    "padding": Range(low=0, high=512, whole=True),
    "extend_left": Range(low=0, high=1024, whole=True),
    "extend_right": Range(low=0, high=1024, whole=True),
    "extend_up": Range(low=0, high=1024, whole=True),
    "extend_down": Range(low=0, high=1024, whole=True),
}

# ------------------------------------------------------------------------------- schedulers, noise schedules

SchedulerName = Literal[
    "ddim", "ddpm", "pndm", "euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_2m", "dpmpp_2m_sde",
    "dpmpp_sde", "dpmpp_3m_sde", "unipc", "deis", "lcm", "tcd",
]  # fmt: skip
NoiseScheduleName = Literal[
    "automatic", "normal", "karras", "exponential", "beta", "sgm_uniform", "simple", "ays", "as_configured"
]
PreviewName = Literal["automatic", "fast", "tiny", "full"]
ResizeModeName = Literal["crop", "pad", "stretch", "fit"]
InpaintAreaName = Literal["whole", "masked"]
HiresUpscalerName = Literal["lanczos", "latent"]
MaskFillName = Literal["original", "noise", "edges"]
PreprocessorName = Literal["none", "canny", "scribble"]

NOISE_SCHEDULES: Mapping[str, str] = {
    "automatic": "Automatic",
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM uniform",
    "simple": "Simple",
    "ays": "AYS",
    "as_configured": "As configured",
}
PREVIEWS: Mapping[str, str] = {
    "automatic": "Automatic",
    "fast": "Fast",
    "tiny": "Tiny",
    "full": "Full VAE",
}
RESIZE_MODES: Mapping[str, str] = {"crop": "Crop", "pad": "Pad", "stretch": "Stretch", "fit": "Fit"}
HIRES_UPSCALERS: Mapping[str, str] = {"lanczos": "Lanczos", "latent": "Latent"}
INPAINT_AREAS: Mapping[str, str] = {"whole": "Whole picture", "masked": "Only masked"}
PREPROCESSORS: Mapping[str, str] = {"none": "None, it is a map", "canny": "Canny edges", "scribble": "Scribble"}
MASK_FILLS: Mapping[str, str] = {"original": "Original", "noise": "Noise", "edges": "Edge colours"}

_EVERY_SCHEDULE: tuple[NoiseScheduleName, ...] = get_args(NoiseScheduleName)
# Schedulers that work on integer timesteps have no list of sigmas to write a curve into.
_INTEGER_SCHEDULES: tuple[NoiseScheduleName, ...] = (
    "automatic", "normal", "sgm_uniform", "simple", "ays", "as_configured",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SchedulerFacts:
    """What the page and the validator need to know of one scheduler."""

    label: str
    automatic: NoiseScheduleName = "normal"  # what the noise schedule Automatic means for it
    noise_schedules: tuple[NoiseScheduleName, ...] = _EVERY_SCHEDULE
    max_steps: int = 150
    second_order: bool = False  # two U-Net evaluations a step, but for the last
    adds_noise: bool = False  # fresh noise at its steps, not the first latents alone


SCHEDULERS: Mapping[str, SchedulerFacts] = {
    "dpmpp_2m": SchedulerFacts(label="DPM++ 2M", automatic="karras"),
    "dpmpp_2m_sde": SchedulerFacts(label="DPM++ 2M SDE", automatic="exponential", adds_noise=True),
    "dpmpp_3m_sde": SchedulerFacts(label="DPM++ 3M SDE", automatic="exponential", adds_noise=True),
    "dpmpp_sde": SchedulerFacts(label="DPM++ SDE", automatic="karras", second_order=True, adds_noise=True),
    "euler": SchedulerFacts(label="Euler"),
    "euler_a": SchedulerFacts(label="Euler a", adds_noise=True),
    "heun": SchedulerFacts(label="Heun", second_order=True),
    "unipc": SchedulerFacts(label="UniPC"),
    "deis": SchedulerFacts(label="DEIS"),
    "lms": SchedulerFacts(label="LMS"),
    "dpm2": SchedulerFacts(label="DPM2", automatic="karras", second_order=True),
    "dpm2_a": SchedulerFacts(label="DPM2 a", automatic="karras", second_order=True, adds_noise=True),
    "ddim": SchedulerFacts(label="DDIM", noise_schedules=_INTEGER_SCHEDULES),
    "ddpm": SchedulerFacts(label="DDPM", noise_schedules=_INTEGER_SCHEDULES, adds_noise=True),
    "pndm": SchedulerFacts(label="PNDM", noise_schedules=tuple(s for s in _INTEGER_SCHEDULES if s != "ays")),
    "lcm": SchedulerFacts(
        label="LCM", automatic="sgm_uniform", noise_schedules=_INTEGER_SCHEDULES, max_steps=50, adds_noise=True
    ),
    "tcd": SchedulerFacts(label="TCD", automatic="sgm_uniform", noise_schedules=_INTEGER_SCHEDULES, max_steps=50),
}


def evaluations(scheduler: SchedulerName, num_inference_steps: int) -> int:
    """How often the U-Net is asked for one image from pure noise (Heun and its kin twice a step but the last).

    Two curves may do with one or two steps less, since they drop timesteps that fall together: Beta from 139 steps on,
    AYS with DDIM and DDPM from 74 on. `Started.total` is exact.
    """
    if SCHEDULERS[scheduler].second_order:
        return 2 * num_inference_steps - 1
    return num_inference_steps + (scheduler == "pndm" and num_inference_steps > 1)


def resolve_noise_schedule(
    scheduler: SchedulerName, noise_schedule: NoiseScheduleName, prediction_type: str = "epsilon"
) -> NoiseScheduleName:
    """The schedule that really runs: `automatic` becomes the scheduler's own choice, or, for a checkpoint whose path of
    noise is not Stable Diffusion's (EDM, a rectified flow), the checkpoint's own."""
    if noise_schedule != "automatic":
        return noise_schedule
    own_path = prediction_type not in ("epsilon", "v_prediction", "sample")
    return "as_configured" if own_path else SCHEDULERS[scheduler].automatic


# Fields that take one of a table's names, beside the scheduler and its schedule, which depend on each other.
CHOICES: Mapping[str, Mapping[str, str]] = {
    "preview": PREVIEWS,
    "resize_mode": RESIZE_MODES,
    "hires_upscaler": HIRES_UPSCALERS,
    "inpaint_area": INPAINT_AREAS,
    "mask_fill": MASK_FILLS,
}

# ------------------------------------------------------------------------------------------------- problems


@dataclass(frozen=True)
class Problem:
    """One bad field: its name, the value that came (shortened), and what is allowed, in words."""

    field: str
    value: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.field}: {self.value} is not allowed. Allowed: {self.allowed}."


class InvalidRequest(ValueError):
    """The only way a request is refused. Carries every problem, so that the page can mark every field."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(" ".join(str(p) for p in problems))
        self.problems = problems


def shown(value: object, limit: int = 60) -> str:
    """A value as it may stand in a message: printable, on one line, shortened."""
    text = repr(value[: limit * 2]) if isinstance(value, str) else repr(value)
    text = text.encode("ascii", "backslashreplace").decode() if any(0xD800 <= ord(c) <= 0xDFFF for c in text) else text
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_text(text: str) -> str:
    """Prompt text without what no tokenizer, log or PNG can hold: control characters (but newline and tab) and lone
    surrogates go; everything else, emoji and right-to-left text included, stays as typed."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


# ------------------------------------------------------------------------------------------------- controls

MAX_CONTROLS = 3
CONTROL_RANGES: Mapping[str, Range] = {
    "scale": Range(low=0, high=2),
    "start": Range(low=0, high=1),
    "end": Range(low=0, high=1),
}


@dataclass(frozen=True, kw_only=True)
class Control:
    """A ControlNet (Zhang et al. 2023) and the picture that it holds the run to: bytes of a PNG, JPEG, WebP or GIF.

    `preprocessor` makes the map that the ControlNet was trained on out of the picture; "none": the picture is one.
    `scale` is diffusers' controlnet_conditioning_scale; `start` and `end` are shares of the run between which it acts.
    Whoever makes one by hand has it checked with the request that holds it.
    """

    model: str
    image: bytes = b""
    preprocessor: PreprocessorName = "none"
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def problems(self, number: int) -> list[Problem]:
        """What is wrong with it, as problems of the field `controls`; `number` counts from 1."""
        found: list[Problem] = []

        def wrong(name: str, value: str, allowed: str) -> None:
            found.append(Problem("controls", f"{name} {value} of control {number}", allowed))

        if not isinstance(self.model, str) or not 1 <= len(self.model) <= 300:
            wrong("model", shown(self.model), "the name of an installed ControlNet")
        if not isinstance(self.image, bytes) or not self.image:
            wrong("image", "nothing" if not self.image else shown(self.image), "a PNG, JPEG, WebP or GIF file")
        elif len(self.image) > MAX_IMAGE_BYTES:
            allowed = f"a file of at most {MAX_IMAGE_BYTES // 2**20} MiB"
            wrong("image", f"a file of {len(self.image) / 2**20:.1f} MiB", allowed)
        if not isinstance(self.preprocessor, str) or self.preprocessor not in PREPROCESSORS:
            wrong("preprocessor", shown(self.preprocessor), one_of(PREPROCESSORS))
        for name, allowed_range in CONTROL_RANGES.items():
            if not allowed_range.holds(getattr(self, name)):
                wrong(name, shown(getattr(self, name)), allowed_range.describe())
        if not found and self.start >= self.end:
            wrong("end", f"{self.end:g}", f"numbers above its start, {self.start:g}")
        return found

    def to_dict(self) -> dict[str, object]:
        """As a request's: the picture is named by its hash."""
        values: dict[str, object] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "image"}
        return values | {"image_sha256": hashlib.sha256(self.image).hexdigest()}

    @classmethod
    def parse(cls, given: object, number: int, problems: list[Problem]) -> Self | None:
        """Values from outside; None, with the reason in `problems`, for what is none. The request checks the rest."""
        known = [f.name for f in fields(cls)]
        if not isinstance(given, Mapping):
            allowed = f"an object with the fields {', '.join(known)}"
            problems.append(Problem("controls", f"{shown(given)} as control {number}", allowed))
            return None
        strangers = [name for name in given if name not in known]
        for name in strangers:
            problems.append(Problem("controls", f"{shown(name)} in control {number}", f"the fields {', '.join(known)}"))
        values: dict[str, object] = {"model": given.get("model")} | {n: given[n] for n in known if n in given}
        for name in CONTROL_RANGES:
            if type(values.get(name)) is int:
                values[name] = float(values[name])  # type: ignore[arg-type]
        if isinstance(values.get("preprocessor"), str):
            values["preprocessor"] = short_name(str(values["preprocessor"]), PREPROCESSORS)
        return None if strangers else cls(**values)  # type: ignore[arg-type]


def _parse_controls(given: object, problems: list[Problem]) -> tuple[Control, ...]:
    """What `Making.controls` becomes: a list of controls or of objects; null is none. Problems are appended."""
    if given is None:
        return ()
    if not isinstance(given, (list, tuple)):
        problems.append(Problem("controls", shown(given), f"a list of at most {MAX_CONTROLS} controls"))
        return ()
    if len(given) > MAX_CONTROLS:
        problems.append(Problem("controls", f"{len(given)} controls", f"at most {MAX_CONTROLS}"))
        return ()
    found = [
        one if isinstance(one, Control) else Control.parse(one, number, problems)
        for number, one in enumerate(given, start=1)
    ]
    return tuple(control for control in found if control is not None)


# ------------------------------------------------------------------------------------------------- requests


@dataclass(frozen=True, kw_only=True)
class Making:
    """What every request has: a prompt to be made into pictures. Image k has seed + k. Names as in diffusers (style.md
    glossary).

    With `variation_strength` v > 0 the noise of image k lies v of the way from that of `seed` to that of
    `variation_seed` + k (slerp, as A1111's "Extra"); all images then share `seed`. `variation_seed` None: drawn.

    `width`, `height` None: the checkpoint's native size. `seed` None: drawn by the engine before `Started`.
    `exact`: every lane runs alone, so that the picture is bit-equal whoever else is there.
    `controls`: ControlNets, acting together. Their pictures are brought to the size that is made as its own picture is,
    without one cropped.
    """

    kind: ClassVar[str] = ""
    picture_fields: ClassVar[tuple[str, ...]] = ()  # bytes of files

    prompt: str
    negative_prompt: str = ""
    checkpoint: str = "small-world-128"
    width: int | None = None
    height: int | None = None
    num_inference_steps: int = 25
    guidance_scale: float = 5.0
    seed: int | None = None
    variation_seed: int | None = None
    variation_strength: float = 0.0
    scheduler: SchedulerName = "dpmpp_2m"
    noise_schedule: NoiseScheduleName = "automatic"
    num_images_per_prompt: int = 1
    preview: PreviewName = "automatic"
    exact: bool = False
    controls: tuple[Control, ...] = ()

    def __post_init__(self) -> None:
        problems = self.problems()
        if problems:
            raise InvalidRequest(*problems)

    def problems(self) -> list[Problem]:
        """Everything that is wrong with the fields, in their order; empty when the request is valid."""
        found: list[Problem] = []
        for name in ("prompt", "negative_prompt"):
            found += _text_problems(name, getattr(self, name))
        if not isinstance(self.checkpoint, str) or not 1 <= len(self.checkpoint) <= 300:
            found.append(Problem("checkpoint", shown(self.checkpoint), "the name of an installed checkpoint"))
        for name, allowed_range in RANGES.items():
            if not hasattr(self, name):
                continue
            value = getattr(self, name)
            if value is None and name in ("width", "height"):
                continue
            if not allowed_range.holds(value):
                found.append(Problem(name, shown(value), allowed_range.describe()))
        found += self._scheduler_problems(already={p.field for p in found})
        for name in ("seed", "variation_seed"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 0 <= value <= self._last_seed()):
                found.append(Problem(name, shown(value), self._seed_allowed()))
        for name, table in CHOICES.items():
            value = getattr(self, name, next(iter(table)))
            if not isinstance(value, str) or value not in table:
                found.append(Problem(name, shown(value), one_of(table)))
        if type(self.exact) is not bool:
            found.append(Problem("exact", shown(self.exact), "true or false"))
        return found + self._control_problems()

    def _control_problems(self) -> list[Problem]:
        given = self.controls
        if not isinstance(given, tuple) or not all(isinstance(control, Control) for control in given):
            return [Problem("controls", shown(given), "a tuple of Control")]
        if len(given) > MAX_CONTROLS:
            return [Problem("controls", f"{len(given)} controls", f"at most {MAX_CONTROLS}")]
        return [problem for number, control in enumerate(given, start=1) for problem in control.problems(number)]

    def _scheduler_problems(self, already: set[str]) -> list[Problem]:
        if not isinstance(self.scheduler, str) or self.scheduler not in SCHEDULERS:
            return [Problem("scheduler", shown(self.scheduler), one_of({k: v.label for k, v in SCHEDULERS.items()}))]
        if not isinstance(self.noise_schedule, str) or self.noise_schedule not in NOISE_SCHEDULES:
            return [Problem("noise_schedule", shown(self.noise_schedule), one_of(NOISE_SCHEDULES))]
        facts = SCHEDULERS[self.scheduler]
        found = []
        if self.noise_schedule not in facts.noise_schedules:
            able = one_of({s: NOISE_SCHEDULES[s] for s in facts.noise_schedules})
            found.append(Problem("noise_schedule", NOISE_SCHEDULES[self.noise_schedule], f"with {facts.label} {able}"))
        if "num_inference_steps" not in already and self.num_inference_steps > facts.max_steps:
            allowed = f"with {facts.label} whole numbers from 1 to {facts.max_steps}"
            found.append(Problem("num_inference_steps", str(self.num_inference_steps), allowed))
        return found

    def _last_seed(self) -> int:
        images = self.num_images_per_prompt
        return MAX_SEED - (images - 1 if RANGES["num_images_per_prompt"].holds(images) else 0)

    def _seed_allowed(self) -> str:
        return f"whole numbers from 0 to {self._last_seed()}, or -1 or nothing for a random one"

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> Self:
        """The gate for values from outside: names, unset fields and text seeds are understood, the rest is refused.

        Strings for numbers ("20" steps), fractions of whole numbers, null for a field that has no empty meaning and
        unknown fields are refused. Raises InvalidRequest with every problem found.
        """
        known = {f.name: f for f in fields(cls)}
        unknown = [
            Problem(name, shown(given[name]), f"the fields {', '.join(known)}") for name in given if name not in known
        ]
        values: dict[str, object] = {name: given[name] for name in known if name in given}
        missing = [n for n, f in known.items() if f.default is MISSING and n not in values]
        unknown += [Problem(n, "nothing", "this field is needed") for n in missing]
        problems: list[Problem] = []
        for name in ("prompt", "negative_prompt"):
            if isinstance(values.get(name), str):
                values[name] = clean_text(str(values[name]))
        for name, allowed_range in RANGES.items():
            value = values.get(name)
            if allowed_range.whole and type(value) is float and value.is_integer():
                values[name] = int(value)  # JSON has one number type: 25.0 is 25
            elif not allowed_range.whole and type(value) is int:
                values[name] = float(value)
        for name in ("seed", "variation_seed"):
            if name in values:
                values[name] = parse_seed(values[name], problems, name)
        for name, table in (
            ("scheduler", {k: v.label for k, v in SCHEDULERS.items()}),
            ("noise_schedule", NOISE_SCHEDULES),
            *CHOICES.items(),
        ):
            if isinstance(values.get(name), str):
                values[name] = short_name(str(values[name]), table)
        if "controls" in values:
            values["controls"] = _parse_controls(values["controls"], problems)
        for name in missing:
            values[name] = None
        shadow = object.__new__(cls)  # the fields without the check, to report all problems in one message
        for name, field in known.items():
            object.__setattr__(shadow, name, values.get(name, field.default))
        marked = {p.field for p in unknown + problems}
        problems = unknown + problems + [p for p in shadow.problems() if p.field not in marked]
        if problems:
            raise InvalidRequest(*problems)
        return cls(**values)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        """Every field by name, with `kind` and `schema`; JSON-able, and `request_from_dict` reads it back equal.

        A picture is named by its hash, since metadata should not hold a second picture. Without controls there is no
        word of them.
        """
        values: dict[str, object] = {"schema": SCHEMA_VERSION, "kind": self.kind}
        without = (*self.picture_fields, "controls")
        values |= {f.name: getattr(self, f.name) for f in fields(self) if f.name not in without}
        if self.controls:
            values["controls"] = [control.to_dict() for control in self.controls]
        hashes = {f"{name}_sha256": hashlib.sha256(getattr(self, name)).hexdigest() for name in self.picture_fields}
        return values | hashes

    @property
    def file_bytes(self) -> int:
        """Of the pictures that came with it."""
        files = [getattr(self, name) for name in self.picture_fields] + [control.image for control in self.controls]
        return sum(len(file) for file in files)

    def without_pictures(self) -> Self:
        """A copy that has forgotten its pictures, for the record of a run that is over; it could not be run again."""
        if not self.picture_fields and not self.controls:
            return self
        copy = object.__new__(type(self))
        for field in fields(self):
            object.__setattr__(
                copy, field.name, b"" if field.name in self.picture_fields else getattr(self, field.name)
            )
        object.__setattr__(copy, "controls", tuple(replace(control, image=b"") for control in self.controls))
        return copy

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False)


def _text_problems(name: str, text: object) -> list[Problem]:
    allowed = f"text of at most {MAX_PROMPT_CHARACTERS:,} characters, without control characters"
    if not isinstance(text, str) or text != clean_text(text):
        return [Problem(name, shown(text), allowed)]
    if len(text) > MAX_PROMPT_CHARACTERS:
        return [Problem(name, f"a text of {len(text):,} characters", allowed)]
    return []


@dataclass(frozen=True, kw_only=True)
class TextToImage(Making):
    """Pictures from words alone.

    `hires_scale` above 1: the picture is made at `width` x `height`, scaled up in the way of `hires_upscaler` and made
    anew from there at `hires_strength`, in `hires_steps` steps (0: as many as before) of which that share is run.
    """

    kind: ClassVar[str] = "text_to_image"

    hires_scale: float = 1.0
    hires_upscaler: HiresUpscalerName = "lanczos"
    hires_steps: int = 0
    hires_strength: float = 0.6

    def problems(self) -> list[Problem]:
        found = super().problems()
        facts = SCHEDULERS.get(self.scheduler) if isinstance(self.scheduler, str) else None
        if found or facts is None:
            return found
        if self.hires_steps > facts.max_steps:
            allowed = f"with {facts.label} whole numbers from 0 to {facts.max_steps}"
            found.append(Problem("hires_steps", str(self.hires_steps), allowed))
        largest = max(self.width or 0, self.height or 0)
        if self.hires_scale > 1 and largest * self.hires_scale > RANGES["width"].high:
            allowed = f"with a side of {largest} pixels numbers from 1 to {RANGES['width'].high / largest:.3g}"
            found.append(Problem("hires_scale", f"{self.hires_scale:g}", allowed))
        return found

    @property
    def hires(self) -> HiresPass | None:
        """The second pass; None where there is none."""
        if self.hires_scale <= 1:
            return None
        steps = self.hires_steps or self.num_inference_steps
        return HiresPass(self.hires_scale, self.hires_upscaler, steps, self.hires_strength)


@dataclass(frozen=True)
class HiresPass:
    """The second pass of a picture that is made twice: image to image from the first, scaled up."""

    scale: float
    upscaler: HiresUpscalerName
    num_inference_steps: int
    strength: float

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Of the scaled picture, on the grid and within the range."""
        sides = (round(side * self.scale / 8) * 8 for side in (width, height))
        width, height = (min(side, int(RANGES["width"].high)) for side in sides)
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
    picture_fields: ClassVar[tuple[str, ...]] = ("image",)

    image: bytes = b""
    strength: float = 0.6
    resize_mode: ResizeModeName = "crop"

    def problems(self) -> list[Problem]:
        found = super().problems()
        for name in self.picture_fields:
            found += self._file_problems(name)
        return found

    def _file_problems(self, name: str) -> list[Problem]:
        data = getattr(self, name)
        if not isinstance(data, bytes) or not data:
            return [Problem(name, shown(data), "a PNG, JPEG, WebP or GIF file")]
        if len(data) > MAX_IMAGE_BYTES:
            allowed = f"a file of at most {MAX_IMAGE_BYTES // 2**20} MiB"
            return [Problem(name, f"a file of {len(data) / 2**20:.1f} MiB", allowed)]
        return []


@dataclass(frozen=True, kw_only=True)
class Inpaint(ImageToImage):
    """A picture of which one part is made anew: where `mask` (a picture of its aspect) is white, and where the canvas
    is extended. Everything further than `mask_blur` pixels from there comes out as it went in, to the last bit.

    `mask` may be empty when the canvas is extended. `inpaint_area` "masked" gives the model only the painted part with
    `padding` pixels around it, at its full size. `mask_fill`: what lies under the mask when the run begins.
    """

    kind: ClassVar[str] = "inpaint"
    picture_fields: ClassVar[tuple[str, ...]] = ("image", "mask")

    mask: bytes = b""
    strength: float = 1.0
    mask_blur: int = 4
    mask_fill: MaskFillName = "original"
    inpaint_area: InpaintAreaName = "whole"
    padding: int = 32
    extend_left: int = 0
    extend_right: int = 0
    extend_up: int = 0
    extend_down: int = 0

    @property
    def extensions(self) -> tuple[int, int, int, int]:
        """Pixels added on the left, above, on the right, below (in the order of a box)."""
        return self.extend_left, self.extend_up, self.extend_right, self.extend_down

    def _file_problems(self, name: str) -> list[Problem]:
        if name == "mask" and self.mask == b"":
            if any(self.extensions):
                return []
            return [Problem("mask", "nothing", "a painted mask, or an extended canvas")]
        return super()._file_problems(name)


Request = TextToImage | ImageToImage | Inpaint
Kind = type[TextToImage] | type[ImageToImage] | type[Inpaint]
KINDS: Mapping[str, Kind] = {kind.kind: kind for kind in (TextToImage, ImageToImage, Inpaint)}


def request_from_dict(
    values: Mapping[str, object],
    *,
    image: bytes | None = None,
    mask: bytes | None = None,
    control_images: Sequence[bytes] = (),
) -> Request:
    """Read `to_dict` back. A request that starts from a picture needs its bytes again, and those of its mask; one with
    controls those of their pictures, in order.

    Raises InvalidRequest for an unknown schema or kind and for every bad field.
    """
    rest = dict(values)
    schema, kind = rest.pop("schema", None), rest.pop("kind", None)
    if schema != SCHEMA_VERSION:
        raise InvalidRequest(Problem("schema", shown(schema), str(SCHEMA_VERSION)))
    found = KINDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise InvalidRequest(Problem("kind", shown(kind), " or ".join(KINDS)))
    if issubclass(found, ImageToImage):
        given = {"image": image, "mask": mask or b""}
        for name in found.picture_fields:
            rest.pop(f"{name}_sha256", None)
            rest[name] = given[name]
    controls = rest.get("controls")
    if isinstance(controls, list):
        rest["controls"] = [_with_image(one, control_images, number) for number, one in enumerate(controls)]
    return found.parse(rest)


def _with_image(control: object, images: Sequence[bytes], number: int) -> object:
    """What `Control.to_dict` gave, with its picture in the place of the hash."""
    if not isinstance(control, Mapping):
        return control
    values = {name: value for name, value in control.items() if name != "image_sha256"}
    return values | {"image": images[number] if number < len(images) else b""}


def steps_run(num_inference_steps: int, strength: float) -> int:
    """How many of the n steps image to image runs: int(n * strength), diffusers' rule."""
    return min(int(num_inference_steps * strength), num_inference_steps)


def parse_seed(value: object, problems: list[Problem], name: str = "seed") -> int | None:
    """A seed as page or API give it: a whole number or its digits as text; -1, null and empty text mean random."""
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        return None
    number: object = value
    if isinstance(value, str):
        digits = value.strip()
        number = int(digits) if len(digits) <= 20 and digits.isascii() and digits.lstrip("-").isdigit() else value
    if type(number) is int and number == -1:
        return None
    if type(number) is not int or not 0 <= number <= MAX_SEED:
        allowed = f"whole numbers from 0 to {MAX_SEED}, or -1 or nothing for a random one"
        problems.append(Problem(name, shown(value), allowed))
        return None
    return number


def short_name(given: str, table: Mapping[str, str]) -> str:
    """The short form of a name given as short form or label, in any case; the text unchanged where it is neither."""
    wanted = given.strip().casefold()
    for short, label in table.items():
        if wanted in (short.casefold(), label.casefold()):
            return short
    return given


def one_of(table: Mapping[str, str]) -> str:
    """A list of choices for a message: label and short form."""
    return "one of " + ", ".join(f"{label} ({short})" for short, label in table.items())
