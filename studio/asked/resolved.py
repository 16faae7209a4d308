"""What is run: a request with everything decided that it may leave open, as one value in which nothing is None.

A request says what is asked; `resolve` turns it into what a checkpoint runs. Plain data: no torch, no page, no disk.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from studio.asked.fields import HiresUpscalerName, ImageToImage, Inpaint, ResizeModeName, TextToImage
from studio.asked.guidance import GUIDANCE_FIELDS, GuidanceSettings
from studio.asked.guidance import settings_of as guidance_of
from studio.asked.messages import Message
from studio.asked.noise_settings import NOISE_FIELDS, NoiseSettings, adds_noise, idle_fields, settings_of
from studio.asked.prompt import Prompt, parse_prompt
from studio.asked.requests import RANDOM_SEEDS, Request
from studio.asked.schedulers import SCHEDULERS, NoiseScheduleName, SchedulerName, resolve_noise_schedule, steps_run
from studio.asked.template import NO_WILDCARDS, Wildcards, is_template, resolve_template
from studio.asked.upscale import NO_UPSCALER

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Suits:
    """What suits a checkpoint: the values of the fields that a request may leave to it, by the fields' own names. The
    defaults are for a checkpoint of which nothing is known."""

    width: int = 512
    height: int = 512
    num_inference_steps: int = 25
    guidance_scale: float = 5.0
    scheduler: SchedulerName = "dpmpp_2m"
    noise_schedule: NoiseScheduleName = "automatic"
    clip_skip: int = 1
    eta: float | None = None  # a scheduler's own
    prediction_type: str = "epsilon"  # decides what the noise schedule Automatic is


@dataclass(frozen=True, kw_only=True)
class ImageWords:
    """The prompts of one image of a run whose prompts are templates, with everything chosen by its seed."""

    prompt: str
    negative_prompt: str
    notices: tuple[str, ...] = ()  # what was not chosen
    hires_prompt: str = ""
    hires_negative_prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What is run. `width` and `height` are the size that the model makes, in pixels. `strength` is 1 for words alone.
    `noise_schedule` is the one that runs, never "automatic".

    `request` is what was asked with its open fields filled in, so that asking it again gives the same pictures. A
    masked one keeps the size that was asked for, since the model may be given a part of the picture only. `seeds` has
    one for each image, and `variation_seeds` too, or none where no variations are asked for. `words` has one for each
    image where a prompt is a template, and none where no prompt is. `template`: of one image's run (`of_image`), the
    prompt and the negative prompt that its words were chosen from.
    """

    request: Request
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: SchedulerName
    noise_schedule: NoiseScheduleName
    strength: float
    seeds: tuple[int, ...]
    variation_seeds: tuple[int, ...] = ()
    clip_skip: int = 1  # the layer of the text encoders that is listened to, counted from the last one
    prediction_type: str = "epsilon"  # of the checkpoint
    steps_before: int | None = None  # of the pass before, in the second pass of a picture that is made twice
    words: tuple[ImageWords, ...] = ()
    template: tuple[str, str] | None = None

    @property
    def prompt(self) -> Prompt:
        """The prompt, parsed."""
        return parse_prompt(self.request.prompt, emphasis=self.request.emphasis)

    @property
    def negative_prompt(self) -> Prompt:
        """The negative prompt, parsed."""
        return parse_prompt(self.request.negative_prompt, negative=True, emphasis=self.request.emphasis)

    @property
    def noise(self) -> NoiseSettings:
        """The fresh noise of its steps."""
        return settings_of(self.scheduler, {name: getattr(self.request, name) for name in NOISE_FIELDS})

    @property
    def guidance(self) -> GuidanceSettings:
        """How its two predictions become one."""
        return guidance_of({name: getattr(self.request, name) for name in GUIDANCE_FIELDS})

    @property
    def idle_noise_fields(self) -> tuple[str, ...]:
        """The fields of noise that the request sets and that do nothing with its scheduler."""
        values = {name: getattr(self.request, name) for name in NOISE_FIELDS}
        second = self.second_pass or self
        in_second = idle_fields(second.scheduler, values)
        return tuple(name for name in idle_fields(self.scheduler, values) if name in in_second)

    @property
    def adds_noise(self) -> bool:
        """Whether its steps add fresh noise."""
        return adds_noise(self.scheduler, self.noise)

    def value(self, name: str) -> object:
        """What a field of the request is in this run."""
        return getattr(self if name in _OWN_FIELDS else self.request, name)

    def encoding_key(self, *, guided: bool) -> tuple[object, ...]:
        """Encoded prompts of runs with equal keys are equal, as far as it is up to the fields of the request. Without
        guidance the negative prompt has no say."""
        names = (name for name, row in self.request.rows().items() if row.encodes)
        return tuple(self.value(name) for name in names if guided or name != "negative_prompt")

    def recorded_fields(self) -> dict[str, object]:
        """The fields that a recording says of its run, by name."""
        return {name: self.value(name) for name, row in self.request.rows().items() if row.is_recorded}

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return self.width, self.height

    @property
    def steps(self) -> int:
        """The steps of the scheduler that run: from a picture only the last int(n * strength)."""
        return steps_run(self.num_inference_steps, self.strength)

    @property
    def resize_mode(self) -> ResizeModeName:
        """How a picture is brought to the size that is made; a ControlNet's map follows it."""
        return self.request.resize_mode if isinstance(self.request, ImageToImage) else "crop"

    @property
    def hires_upscaler(self) -> HiresUpscalerName:
        """How a picture that is made twice is scaled up in between."""
        return self.request.hires_upscaler if isinstance(self.request, TextToImage) else "lanczos"

    @property
    def upscaler_name(self) -> str:
        """The upscaler that enlarges the decoded picture in between; "" for none."""
        if not isinstance(self.request, TextToImage) or self.hires_upscaler == "latent":
            return ""
        return self.request.upscaler_name

    @property
    def finishing_upscaler(self) -> str:
        """The upscaler that enlarges the finished picture; "" for none."""
        if not isinstance(self.request, TextToImage) or self.request.upscale == NO_UPSCALER:
            return ""
        return self.request.upscale

    @property
    def second_pass(self) -> Resolved | None:
        """The second pass of a picture that is made twice, as a run from a picture; None where there is none."""
        first_pass = self.request
        if not isinstance(first_pass, TextToImage) or not first_pass.has_second_pass:
            return None
        width, height = first_pass.hires_size(self.width, self.height)
        steps, strength = first_pass.hires_steps or self.num_inference_steps, first_pass.hires_strength
        values = {name: getattr(first_pass, name) for name in ImageToImage.rows() if name in first_pass.rows()}
        values |= {"width": width, "height": height, "num_inference_steps": steps, "strength": strength}
        own = first_pass
        scheduler = self.scheduler if own.hires_scheduler == "same" else own.hires_scheduler
        schedule = self.noise_schedule if own.hires_noise_schedule == "same" else own.hires_noise_schedule
        if schedule not in SCHEDULERS[scheduler].noise_schedules:  # the first pass's, which this one does not have
            schedule = "automatic"
        schedule = resolve_noise_schedule(scheduler, schedule, self.prediction_type)
        guidance = self.guidance_scale if own.hires_guidance_scale is None else own.hires_guidance_scale
        values |= {
            "prompt": own.hires_prompt or own.prompt,
            "negative_prompt": own.hires_negative_prompt or own.negative_prompt,
            "scheduler": scheduler,
            "noise_schedule": schedule,
            "guidance_scale": guidance,
        }
        request = ImageToImage(**values, image=b"the first pass")
        return replace(
            self,
            request=request,
            scheduler=scheduler,
            noise_schedule=schedule,
            guidance_scale=guidance,
            width=width,
            height=height,
            num_inference_steps=steps,
            strength=strength,
            steps_before=self.steps,
        )

    @property
    def largest(self) -> Resolved:
        """The pass with the largest picture."""
        return self.second_pass or self

    def idle_switches(self) -> list[str]:
        """Switches of the prompts, [before:after:when], that come after the last step of every pass."""
        passes = [one for one in (self, self.second_pass) if one is not None]
        return [
            switch.text
            for prompt in (self.prompt, self.negative_prompt)
            for switch in prompt.switches
            if all(switch.last_step(one.steps, one.steps_before) >= one.steps for one in passes)
        ]

    def with_scheduler(self, scheduler: SchedulerName, noise_schedule: NoiseScheduleName) -> Resolved:
        """The same run by another scheduler."""
        schedule_name = resolve_noise_schedule(scheduler, noise_schedule, self.prediction_type)
        return replace(self, scheduler=scheduler, noise_schedule=schedule_name)

    def of_image(self, image: int) -> Resolved:
        """The run of one of its images alone."""
        variations, words = self.variation_seeds[image : image + 1], self.words[image : image + 1]
        request = replace(
            self.request,
            seed=self.seeds[image],
            num_images_per_prompt=1,
            variation_seed=variations[0] if variations else self.request.variation_seed,
        )
        template = self.template
        if words:
            template = (request.prompt, request.negative_prompt)
            request = replace(request, prompt=words[0].prompt, negative_prompt=words[0].negative_prompt)
            if isinstance(request, TextToImage):
                own = words[0].hires_prompt, words[0].hires_negative_prompt
                request = replace(request, hires_prompt=own[0], hires_negative_prompt=own[1])
        return replace(
            self,
            request=request,
            seeds=(self.seeds[image],),
            variation_seeds=variations,
            words=(),
            template=template,
        )

    @property
    def images(self) -> tuple[Resolved, ...]:
        """The runs that differ in their prompts: that of each image where a prompt is a template, else the run."""
        return tuple(self.of_image(image) for image in range(len(self.words))) or (self,)


_OWN_FIELDS = frozenset(field.name for field in fields(Resolved))


def with_suitable_values(request: Request, suits: Suits) -> Request:
    """The request with every open field as it suits a checkpoint, but for the seeds, and for the size of one that
    starts from a picture, which follows the picture. Raises InvalidRequest where that does not fit to the rest."""
    from_picture = isinstance(request, ImageToImage)
    values: dict[str, object] = {
        name: getattr(suits, name)
        for name, row in request.rows().items()
        if row.suits
        and not row.stays_open
        and getattr(request, name) is None
        and not (from_picture and row.place == "size")
    }
    if "noise_schedule" in values and request.scheduler not in (None, suits.scheduler):
        values["noise_schedule"] = "automatic"  # that of the checkpoint belongs to its scheduler
    return replace(request, **values) if values else request  # type: ignore[arg-type]


def resolve(
    request: Request,
    suits: Suits,
    *,
    size: Size | None = None,
    exact: bool = False,
    wildcards: Wildcards = NO_WILDCARDS,
    random_seed: Callable[[], int] = lambda: secrets.randbelow(RANDOM_SEEDS),
) -> Resolved:
    """Decide everything that a request leaves open. `size`: of the picture that the model is given, for a run from one;
    without it what was asked, or what suits. `exact`: its lanes run alone, also where that was not asked. `wildcards`
    have the lines that prompts ask for. Raises InvalidRequest where what suits the checkpoint does not fit to what was
    asked, and for a template that goes too deep or becomes too long."""
    request = with_suitable_values(request, suits)
    width, height = size or (request.width or suits.width, request.height or suits.height)
    seed = random_seed() if request.seed is None else request.seed
    images = range(request.num_images_per_prompt)
    variations: tuple[int, ...] = ()
    if request.variation_strength > 0:
        first = random_seed() if request.variation_seed is None else request.variation_seed
        variations = tuple(first + k for k in images)
        request = replace(request, variation_seed=first)
    request = replace(request, exact=request.exact or exact, seed=seed)
    if not isinstance(request, Inpaint):
        request = replace(request, width=width, height=height)
    seeds = tuple(seed if variations else seed + k for k in images)
    scheduler = request.scheduler or suits.scheduler
    schedule = request.noise_schedule or suits.noise_schedule
    return Resolved(
        request=request,
        width=width,
        height=height,
        num_inference_steps=request.num_inference_steps or suits.num_inference_steps,
        guidance_scale=suits.guidance_scale if request.guidance_scale is None else request.guidance_scale,
        scheduler=scheduler,
        noise_schedule=resolve_noise_schedule(scheduler, schedule, suits.prediction_type),
        strength=request.strength if isinstance(request, ImageToImage) else 1.0,
        seeds=seeds,
        words=_words(request, seeds, wildcards),
        variation_seeds=variations,
        clip_skip=request.clip_skip or suits.clip_skip,
        prediction_type=suits.prediction_type,
    )


def asks_for_choices(request: Request) -> bool:
    """Whether one of its prompts is a template, so that its words depend on its seed."""
    return any(map(is_template, (request.prompt, request.negative_prompt, *_own_prompts(request))))


def _own_prompts(request: Request) -> tuple[str, str]:
    """The prompts of a second pass; empty where it has none of its own."""
    has_own = isinstance(request, TextToImage) and request.has_second_pass
    return (request.hires_prompt, request.hires_negative_prompt) if has_own else ("", "")  # type: ignore[union-attr]


def _words(request: Request, seeds: Sequence[int], wildcards: Wildcards) -> tuple[ImageWords, ...]:
    """The words of each image; none where no prompt is a template."""
    if not asks_for_choices(request):
        return ()
    words = []
    for seed in seeds:
        prompt = resolve_template(request.prompt, seed, wildcards)
        negative = resolve_template(request.negative_prompt, seed, wildcards, field="negative_prompt")
        in_negative = (Message("In the negative prompt, {notice}", notice=notice) for notice in negative.notices)
        second = [resolve_template(text, seed, wildcards, field="hires_prompt") for text in _own_prompts(request)]
        in_second = (Message("In the second pass, {notice}", notice=n) for one in second for n in one.notices)
        words.append(
            ImageWords(
                prompt=prompt.text,
                negative_prompt=negative.text,
                notices=(*prompt.notices, *in_negative, *in_second),
                hires_prompt=second[0].text,
                hires_negative_prompt=second[1].text,
            )
        )
    return tuple(words)
