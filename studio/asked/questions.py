"""What the noise viewer asks beside a run: frozen, validated questions about the loaded checkpoint and a picture.

Plain data: no torch, no page. `parse` is the gate for the query string of `/ask/<name>`; the answers: docs/viewer.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import ClassVar

from studio.asked import requests
from studio.asked.few_steps import PART_LABELS, FewSteps, FewStepsFromPicture, FewStepsOfMap, FewStepsUnderMask
from studio.asked.fields import RESIZE_MODES, ResizeModeName
from studio.asked.messages import Message
from studio.asked.problems import (
    MAX_IMAGE_BYTES,
    InvalidRequest,
    Problem,
    Range,
    clean_text,
    one_of,
    quoted_value,
    short_name,
)
from studio.asked.quantities import QUANTITIES
from studio.asked.question import TEXTS, Question
from studio.asked.rows import MAX_PROMPT_CHARACTERS, MAX_SEED
from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS, NoiseScheduleName, SchedulerName
from studio.asked.word_weights import read_weights

# What the fields of questions allow, by name: numbers, and names of tables.
RANGES: Mapping[str, Range] = {
    "num_inference_steps": requests.RANGES["num_inference_steps"],
    "strength": requests.RANGES["strength"],
    "seed": Range(low=0, high=MAX_SEED, whole=True),
    "points": Range(low=2, high=20, whole=True),
    "timestep": Range(low=0, high=999, whole=True),
    "which": Range(low=0, high=999_999, whole=True),
    "evaluation": Range(low=0, high=999, whole=True),
    "width": requests.RANGES["width"],
    "height": requests.RANGES["height"],
    "steps": Range(low=1, high=8, whole=True),  # of a figure, not of a picture that is kept
    "guidance_scale": requests.RANGES["guidance_scale"],
}
DECODABLE: Mapping[str, str] = {name: one.label for name, one in QUANTITIES.items() if one.kind == "state"}
DECODERS: Mapping[str, str] = {"vae": "VAE", "tiny": "Tiny decoder"}
TABLES: Mapping[str, Mapping[str, str]] = {
    "scheduler": {name: facts.label for name, facts in SCHEDULERS.items()},
    "noise_schedule": NOISE_SCHEDULES,
    "resize_mode": RESIZE_MODES,
    "quantity": DECODABLE,
    "decoder": DECODERS,
    "part": PART_LABELS,
}


@dataclass(frozen=True, kw_only=True)
class ScheduleCurves(Question):
    """Where would this scheduler evaluate the U-Net? Answered without a model call."""

    name: ClassVar[str] = "schedule"

    scheduler: SchedulerName = "dpmpp_2m"
    noise_schedule: NoiseScheduleName = "automatic"
    num_inference_steps: int = 25
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ForwardProcess(Question):
    """The clean latents of a picture, one fixed noise, and the training curve, to noise it in the browser."""

    name: ClassVar[str] = "forward"
    needs_image: ClassVar[bool] = True

    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class NoisedStart(Question):
    """Where image to image begins: the picture's latents at the size that is made, the noise of a seed, and the level
    of every number of steps that may be run, to noise it in the browser."""

    name: ClassVar[str] = "start"
    needs_image: ClassVar[bool] = True

    scheduler: SchedulerName = "dpmpp_2m"
    noise_schedule: NoiseScheduleName = "automatic"
    num_inference_steps: int = 25
    strength: float = 0.6
    seed: int = 0
    width: int | None = None
    height: int | None = None
    resize_mode: ResizeModeName = "crop"


@dataclass(frozen=True, kw_only=True)
class DecodedStart(NoisedStart):
    """The same beginning at one strength, decoded by the VAE: a JPEG."""

    name: ClassVar[str] = "decoded-start"


@dataclass(frozen=True, kw_only=True)
class LossCurve(Question):
    """The training loss over t, with the right caption, none, and a wrong one."""

    name: ClassVar[str] = "losses"
    needs_image: ClassVar[bool] = True

    caption: str = ""
    wrong_caption: str = ""
    points: int = 12
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ErrorMap(Question):
    """Noise minus predicted noise at one t."""

    name: ClassVar[str] = "error"
    needs_image: ClassVar[bool] = True

    caption: str = ""
    timestep: int = 500
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class RoundTrip(Question):
    """A picture through the VAE and back."""

    name: ClassVar[str] = "vae"
    needs_image: ClassVar[bool] = True

    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Architecture(Question):
    """The parts of the loaded model: blocks, shapes, parameters, and the milliseconds of one pass."""

    name: ClassVar[str] = "architecture"


@dataclass(frozen=True, kw_only=True)
class StepCost(Question):
    """What one call of the U-Net computes, on latents and on pixels. Answered without a model call."""

    name: ClassVar[str] = "cost"


@dataclass(frozen=True, kw_only=True)
class Embeddings(Question):
    """What the text encoder makes of each token of a prompt: lengths, angles between them, and a map of them."""

    name: ClassVar[str] = "embeddings"

    prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class Plane(Question):
    """Points of a plane on their way from noise to data whose best prediction is known. Answered without a model."""

    name: ClassVar[str] = "plane"

    scheduler: SchedulerName = "dpmpp_2m"
    num_inference_steps: int = 8
    seed: int = 0

    @property
    def noise_schedule(self) -> NoiseScheduleName:
        """The scheduler's own."""
        return "automatic"


@dataclass(frozen=True, kw_only=True)
class LookAgain(Question):
    """Something about one evaluation (0-based) of a recorded run of this visitor; `which` image of the job."""

    job: str
    which: int = 0
    evaluation: int = 0


@dataclass(frozen=True, kw_only=True)
class DecodeQuantity(LookAgain):
    """A quantity of an evaluation, decoded by the VAE, or by the tiny decoder, and not by the fast one: a JPEG."""

    name: ClassVar[str] = "decoded"

    quantity: str = "denoised"
    decoder: str = "vae"


@dataclass(frozen=True, kw_only=True)
class SelfAttention(LookAgain):
    """Which places each place of the picture looked at: the U-Net call is made once more, for the prompt's half."""

    name: ClassVar[str] = "self-attention"


@dataclass(frozen=True, kw_only=True)
class Heads(LookAgain):
    """Where each head of one cross-attention layer looked, by the same way."""

    name: ClassVar[str] = "heads"

    layer: str


@dataclass(frozen=True, kw_only=True)
class WeightedWords(LookAgain):
    """The noise that is predicted there with other weights of words (`studio.asked.word_weights`): the U-Net call is
    made once more with them."""

    name: ClassVar[str] = "word-weights"

    word_weights: str


QUESTION_KINDS: Mapping[str, type[Question]] = {
    kind.name: kind
    for kind in (
        ScheduleCurves,
        ForwardProcess,
        NoisedStart,
        DecodedStart,
        LossCurve,
        ErrorMap,
        RoundTrip,
        Architecture,
        StepCost,
        Embeddings,
        FewSteps,
        FewStepsFromPicture,
        FewStepsUnderMask,
        FewStepsOfMap,
        Plane,
        DecodeQuantity,
        SelfAttention,
        Heads,
        WeightedWords,
    )
}


def parse(name: str, parameters: Mapping[str, str], image: bytes = b"") -> Question:
    """A question from its name, its values as text, and a picture's bytes. Raises InvalidRequest with every problem."""
    kind = QUESTION_KINDS.get(name)
    if kind is None:
        raise InvalidRequest(Problem("question", quoted_value(name), ", ".join(QUESTION_KINDS)))
    fields_by_name = {f.name: f for f in fields(kind) if f.name not in ("image", "models")}
    problems = [
        Problem(
            n,
            quoted_value(parameters[n]),
            Message("the fields {names}", names=", ".join(fields_by_name)),
        )
        for n in parameters
        if n not in fields_by_name
    ]
    values: dict[str, object] = {"image": image} if kind.needs_image else {}
    for field_name, field in fields_by_name.items():
        if field_name in parameters:
            values[field_name] = _value(field_name, parameters[field_name], problems)
        elif field.default is MISSING:
            problems.append(Problem(field_name, Message("nothing"), Message("this field is needed")))
    if kind.needs_image and not 0 < len(image) <= MAX_IMAGE_BYTES:
        size = Message("a file of {count} MiB", count=f"{len(image) / 2**20:.1f}") if image else "nothing"
        expectation = Message(
            "a PNG, JPEG, WebP or GIF file of at most {most} MiB, or the id of a picture",
            most=MAX_IMAGE_BYTES // 2**20,
        )
        problems.append(Problem("image", size, expectation))
    if problems:
        raise InvalidRequest(*problems)
    question = kind(**values)  # type: ignore[arg-type]
    if isinstance(question, WeightedWords):
        read_weights(question.word_weights)
    if isinstance(question, (ScheduleCurves, NoisedStart, FewSteps, Plane)) and (problems := _curve_problems(question)):
        raise InvalidRequest(*problems)
    return question


def _value(name: str, text: str, problems: list[Problem]) -> object:
    if name in RANGES:
        limits = RANGES[name]
        try:
            number = int(text) if limits.whole else float(text)
        except ValueError:
            number = None
        if number is None or len(text) > 30 or not limits.holds(number):
            problems.append(Problem(name, quoted_value(text), limits.describe()))
        return number
    if name in TEXTS:
        if len(text) > MAX_PROMPT_CHARACTERS:
            allowed_text = Message("text of at most {most} characters", most=f"{MAX_PROMPT_CHARACTERS:,}")
            problems.append(
                Problem(name, Message("a text of {count} characters", count=f"{len(text):,}"), allowed_text)
            )
        return clean_text(text)
    table = TABLES.get(name)
    if table is not None:
        text = short_name(text, table)
        if text not in table:
            problems.append(Problem(name, quoted_value(text), one_of(table)))
    return text


def _curve_problems(question: ScheduleCurves | NoisedStart | FewSteps | Plane) -> list[Problem]:
    facts = SCHEDULERS[question.scheduler]
    problems = []
    if question.noise_schedule not in facts.noise_schedules:
        able = one_of({s: NOISE_SCHEDULES[s] for s in facts.noise_schedules})
        problems.append(
            Problem(
                "noise_schedule",
                NOISE_SCHEDULES[question.noise_schedule],
                Message("with {scheduler} {able}", scheduler=facts.label, able=able),
            )
        )
    if question.num_inference_steps > facts.max_steps:
        expectation = Message(
            "with {scheduler} whole numbers from 1 to {last}", scheduler=facts.label, last=facts.max_steps
        )
        problems.append(Problem("num_inference_steps", str(question.num_inference_steps), expectation))
    return problems
