"""A body of `/sdapi/v1/txt2img` or `img2img` as a request of the studio's own.

What is not given and depends on the model (size, steps, guidance, sampler) is left to what suits the checkpoint; the
rest has AUTOMATIC1111's defaults. Every problem is named by its field there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studio.answered.models import Model
from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.noise_settings import idle_fields
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.prompt_notices import control_characters
from studio.asked.requests import ROWS, Kind, Request
from studio.asked.schedulers import SCHEDULERS
from studio.families.registry import label_of
from studio.picture import masks
from studio.picture.infotext import A1111_SAMPLERS, A1111_SCHEDULES, parse_parameters, settings_of_pairs
from studio.picture.saving import USUAL, Saving
from studio.picture.styles import Style, with_styles
from studio.web import base64_pictures
from studio.web.a1111 import options
from studio.web.a1111.fields import (
    KNOWN,
    LACKING,
    LACKING_HIRES,
    NOT_OBEYED,
    OF_IMG2IMG,
    OF_TXT2IMG,
    SAME,
    THEIR_NAMES,
    Notice,
    is_one_of,
    notice,
)
from studio.web.a1111.files import AS_SAVED, FileOptions
from studio.web.a1111.second_sampler import second_sampler

_RESIZE_MODES = ("stretch", "crop", "pad")  # Just resize, Crop and resize, Resize and fill
_FILLS = ("edges", "original", "noise")  # fill, original, latent noise
_UPSCALERS = {"latent": "latent", "lanczos": "lanczos"}
# What AUTOMATIC1111 takes where a field is absent, but for what depends on the model.
_DEFAULTS: Mapping[str, object] = {"hr_scale": 2.0, "mask_blur": 4, "inpaint_full_res_padding": 0}
_STRENGTH = 0.75
_ETA_ONE = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde")  # their eta is a choice there alone


@dataclass(frozen=True)
class Order:
    """What a program asks for, and what is not obeyed of it. `echo`: the fields it has sent, without their pictures
    unless it wants them back. `options`: those that its visitor has from now on, where it says so."""

    request: Request
    notices: tuple[Notice, ...]
    send_images: bool
    echo: Mapping[str, object]
    options: options.Options | None = None
    files: FileOptions = AS_SAVED


def style_names(body: object) -> list[str]:
    """The styles that a body names. Raises InvalidRequest."""
    names = body.get("styles") if isinstance(body, dict) else None
    names = [] if names is None else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest(Problem("styles", quoted_value(names), "a list of names of styles"))
    return [name for name in names if name and name != "None"]


def read(
    body: object,
    saved_options: options.Options,
    models: Sequence[Model],
    *,
    from_picture: bool,
    saving: Saving = USUAL,
    styles: Sequence[Style] = (),
) -> Order:
    """The run that a body asks for. `saved_options`: its visitor's options; `saving`: how pictures are saved; `styles`:
    those that it names. Pictures are checked, not decoded, but for a mask that is to be inverted. Raises InvalidRequest
    with every problem, named as in the body."""
    if not isinstance(body, dict):
        raise InvalidRequest(Problem("body", quoted_value(body), "a JSON object with the fields of a run"))
    return _Reading(body, saved_options, models, from_picture, saving).order(styles)


def _theirs(problem: Problem, body: Mapping[str, object]) -> Problem:
    """A problem with a field of ours, by the name of the field that it came from."""
    name = THEIR_NAMES.get(problem.field, problem.field)
    if problem.field == "num_images_per_prompt" and body.get("n_iter", 1) != 1:
        name = "batch_size x n_iter"
    if problem.field == "scheduler" and "sampler_name" not in body and "sampler_index" in body:
        name = "sampler_index"
    return Problem(name, problem.value, problem.allowed)


class _Reading:
    """One body on its way to a request."""

    def __init__(
        self,
        body: Mapping[str, object],
        saved_options: options.Options,
        models: Sequence[Model],
        from_picture: bool,
        saving: Saving,
    ) -> None:
        self.saving = saving
        self.files = saved_options.files
        self.body = {name: value for name, value in body.items() if value is not None}
        self.saved_options = saved_options
        self.models = models
        self.from_picture = from_picture
        self.values: dict[str, object] = {}
        self.notices: list[Notice] = []
        self.problems: list[Problem] = []
        self.new_options: options.Options | None = None

    def order(self, styles: Sequence[Style]) -> Order:
        twice = not self.from_picture and self._flag("enable_hr", False)
        self._infotext()
        self._name_the_rest(twice)
        self._scripts()
        self._options()
        values = self.values
        values |= {ours: self.body[theirs] for theirs, ours in SAME.items() if theirs in self.body}
        prompts = [values.get(name) or "" for name in ("prompt", "negative_prompt")]
        if styles and all(isinstance(text, str) for text in prompts):
            values["prompt"], values["negative_prompt"] = with_styles(str(prompts[0]), str(prompts[1]), styles)
        self._sampler()
        self._images()
        if self.from_picture:
            kind = self._start()
        else:
            kind = TextToImage
            self._second_pass(twice)
        send_images = self._flag("send_images", True)
        if self.problems:
            raise InvalidRequest(*self.problems)
        left_out = control_characters(values.get("prompt"), values.get("negative_prompt"))
        self.notices += [Notice("prompt", "", sentence) for sentence in left_out]
        values.setdefault("prompt", "")
        try:
            request = kind.parse({name: value for name, value in values.items() if name in kind.rows()})
        except InvalidRequest as error:
            raise InvalidRequest(*(_theirs(problem, self.body) for problem in error.problems)) from None
        for name in idle_fields(request.scheduler, vars(request)) if request.scheduler else ():
            why = f"It does nothing with {SCHEDULERS[request.scheduler].label}."  # type: ignore[index]
            self.notices.append(notice(THEIR_NAMES.get(name, name), getattr(request, name), why))
        return Order(request, tuple(self.notices), send_images, self._echo(), self.new_options, self.files)

    def _problem(self, field: str, value: object, allowed: str) -> None:
        self.problems.append(Problem(field, quoted_value(value), allowed))

    def _flag(self, field: str, usual: bool) -> bool:
        value = self.body.get(field, usual)
        if not isinstance(value, bool) and value not in (0, 1):
            self._problem(field, value, "true or false")
        return bool(value)

    def _whole(self, field: str, usual: int, low: int, high: int) -> int:
        value = self.body.get(field, usual)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or value != int(value)
            or not low <= value <= high
        ):
            self._problem(field, value, f"whole numbers from {low} to {high}")
            return usual
        return int(value)

    def _name_the_rest(self, twice: bool) -> None:
        """What is refused, and what is named because nothing here obeys it."""
        elsewhere = OF_TXT2IMG if self.from_picture else OF_IMG2IMG
        for field, value in self.body.items():
            if field in elsewhere:
                if value:
                    other = "txt2img" if self.from_picture else "img2img"
                    self.notices.append(notice(field, value, f"Only {other} has this field."))
                continue
            lacking = LACKING.get(field) or (LACKING_HIRES.get(field) if twice else None)
            if lacking is not None and not is_one_of(value, lacking):
                self._problem(field, value, f"{' or '.join(map(repr, lacking))}: the studio has nothing else")
            elif field in NOT_OBEYED and not is_one_of(value, NOT_OBEYED[field][0]):
                self.notices.append(notice(field, value, NOT_OBEYED[field][1]))
            elif field not in KNOWN:
                self.notices.append(notice(field, value, "AUTOMATIC1111's API has no such field."))

    def _infotext(self) -> None:
        """The settings of a text such as pictures hold; the fields beside it come before them."""
        if "infotext" not in self.body:
            return
        prompt, negative_prompt, pairs = parse_parameters(str(self.body["infotext"]))
        settings = settings_of_pairs(pairs)
        self.values |= {"prompt": prompt, "negative_prompt": negative_prompt} | settings.values
        name = self.values.pop("checkpoint", None) or settings.checkpoint_hash
        if name:
            self.values["checkpoint"] = options.checkpoint_of(name, self.models, "infotext.Model")
        if settings.wants_tiny_vae:
            self.notices += options.take_tiny_vae(self.values, self.models)
        for key, (value, _) in settings.others.items():
            self.notices.append(notice(f"infotext.{key}", value, "The studio has no such setting."))

    def _scripts(self) -> None:
        scripts = self.body.get("alwayson_scripts", {})
        if not isinstance(scripts, dict):
            self._problem("alwayson_scripts", scripts, "an object: name of a script => its arguments")
            return
        for name in scripts:
            self._problem("alwayson_scripts", name, "none: the studio has no scripts, as /sdapi/v1/scripts says")

    def _options(self) -> None:
        """Checkpoint, VAE, clip skip and emphasis: of `override_settings`, else as the visitor has chosen."""
        overrides = self.body.get("override_settings", {})
        run_options = self.saved_options
        if not isinstance(overrides, dict):
            self._problem("override_settings", overrides, "an object: name of an option => its value")
            overrides = {}
        else:
            try:
                run_options, notices = options.read(
                    overrides, run_options, self.models, "override_settings", self.saving
                )
                self.notices += notices
            except InvalidRequest as error:
                self.problems += error.problems
        if run_options != self.saved_options and not self._flag("override_settings_restore_afterwards", True):
            self.new_options = run_options
        self.files = run_options.files
        of_run = {
            "checkpoint": (run_options.checkpoint, "sd_model_checkpoint"),
            "clip_skip": (run_options.clip_skip, "CLIP_stop_at_last_layers"),
            "vae_name": (run_options.vae or "", "sd_vae"),
            "noise_seed_delta": (run_options.noise_seed_delta, "eta_noise_seed_delta"),
            "emphasis": (run_options.emphasis, "emphasis"),
        }
        for name, (value, key) in of_run.items():  # an infotext comes before what is chosen for all runs
            if value is not None and (key in overrides or name not in self.values):
                self.values[name] = value
        self.values.setdefault("checkpoint", options.default_checkpoint(self.models))
        self._vae()
        self._clip_skip()

    def _vae(self) -> None:
        """The VAE that is named must fit the checkpoint, whichever of an infotext and the options named each."""
        try:
            name, checkpoint = self.values["vae_name"], str(self.values["checkpoint"])
            self.values["vae_name"] = options.vae_of(name, self.models, checkpoint) or "" if name else ""
        except InvalidRequest as error:
            self.problems += [] if any(one.field.endswith("sd_vae") for one in self.problems) else error.problems

    def _clip_skip(self) -> None:
        """AUTOMATIC1111 obeys clip skip for SD 1 alone, and its programs send it for every checkpoint."""
        names = {one.name: one.facts.family for one in self.models if one.kind == "checkpoint"}
        family = names.get(str(self.values["checkpoint"]))
        if family not in (None, "sd1") and "clip_skip" in self.values:
            value = self.values.pop("clip_skip")
            if value != 1:
                why = f"AUTOMATIC1111 obeys it for SD 1 alone, and this checkpoint is of {label_of(family)}."
                self.notices.append(notice("CLIP_stop_at_last_layers", value, why))

    def _sampler(self) -> None:
        """A sampler's name may end in its schedule, "DPM++ 2M Karras", which then counts, as there."""
        name = self.body.get("sampler_name") or self.body.get("sampler_index")
        schedule = self.body.get("scheduler")
        values: dict[str, str] = {}
        for key, field, value in (("Sampler", "sampler_name", name), ("Schedule type", "scheduler", schedule)):
            if value is not None and not isinstance(value, str):
                self._problem(field, value, "a name")
            elif value:
                values[key] = str(value)
        automatic = values.get("Schedule type", "").casefold() == "automatic"
        of_name = settings_of_pairs({k: v for k, v in values.items() if k == "Sampler"}).values
        ends_in_schedule = of_name.get("noise_schedule", "automatic") != "automatic"
        if "Schedule type" in values and (not automatic or not ends_in_schedule):
            label = values["Schedule type"]
            spellings = (label, label.replace("_", " "))
            read_values = [settings_of_pairs({"Schedule type": one}).values["noise_schedule"] for one in spellings]
            known_values = [one for one in read_values if one in A1111_SCHEDULES or one == "as_configured"]
            if not known_values:
                self._problem("scheduler", label, f"one of {', '.join(A1111_SCHEDULES.values())}")
            elif ends_in_schedule and known_values[0] != of_name["noise_schedule"]:
                self.notices.append(notice("scheduler", label, f"The name {name} says which schedule runs."))
            else:
                of_name["noise_schedule"] = known_values[0]
        scheduler = of_name.get("scheduler")
        if scheduler is not None and scheduler not in A1111_SAMPLERS:
            field = "sampler_name" if self.body.get("sampler_name") else "sampler_index"
            self._problem(field, scheduler, f"one of {', '.join(A1111_SAMPLERS.values())}")
            of_name = {}
        self.values |= of_name
        eta = self.body.get("eta")
        facts = SCHEDULERS.get(scheduler)  # type: ignore[call-overload]
        # Clients send 1 with every sampler; one without an eta ignores it there too.
        if facts is not None and eta in (facts.usual_eta, *(() if "eta" in facts.noise_settings else (0, 1))):
            self.values.pop("eta", None)
        if eta not in (None, 1) and scheduler in _ETA_ONE:
            self._problem("eta", eta, f"with {A1111_SAMPLERS[str(scheduler)]} 1")

    def _images(self) -> None:
        """Images of a batch and batches make one request: there too the k-th has the seed + k."""
        most = ROWS["num_images_per_prompt"].allowed
        assert most is not None
        batch_size = self._whole("batch_size", 1, 1, int(most.high))
        batches = self._whole("n_iter", 1, 1, int(most.high))
        if batch_size * batches > most.high:
            self._problem("batch_size x n_iter", batch_size * batches, f"at most {most.high:g} images of one call")
            return
        self.values["num_images_per_prompt"] = batch_size * batches

    def _second_pass(self, twice: bool) -> None:
        if not twice:
            self._forget_second_pass()
            return
        self.values |= second_sampler(self.body, self.problems)
        self.values.setdefault("hires_scale", _DEFAULTS["hr_scale"])
        self.values["hires_strength"] = self.body.get("denoising_strength", _STRENGTH)
        upscaler = self.body.get("hr_upscaler", "Latent")
        learned = [one.name for one in self.models if one.kind == "upscaler" and one.state == "usable"]
        ours = _UPSCALERS.get(upscaler.casefold()) if isinstance(upscaler, str) else None
        if ours is None and upscaler in learned:
            ours, self.values["upscaler_name"] = "lanczos", upscaler
        if ours is None:
            self._problem("hr_upscaler", upscaler, " or ".join(("Latent", "Lanczos", *learned[:20])))
        self.values["hires_upscaler"] = ours
        wide, high = (self._whole(f"hr_resize_{axis}", 0, 0, 8192) for axis in "xy")
        if wide or high:
            self._scale_of(wide, high)
        scale = self.values["hires_scale"]
        if not self.problems and isinstance(scale, (int, float)) and scale <= 1:
            self._problem("hr_scale", scale, "with enable_hr numbers above 1")

    def _forget_second_pass(self) -> None:
        for name in [name for name in self.values if name.startswith(("hires_", "upscaler_"))]:
            del self.values[name]

    def _scale_of(self, wide: int, high: int) -> None:
        """A second pass has the shape of the first one here, so its size is a factor."""
        width, height = self.values.get("width"), self.values.get("height")
        sides = [(there, here) for there, here in ((wide, width), (high, height)) if there]
        if not all(isinstance(here, int) and here > 0 for _, here in sides):
            self._problem("hr_resize_x", wide, "a size beside width and height")
            return
        factors = [there / here for there, here in sides if isinstance(here, int)]
        if max(factors) - min(factors) > 0.01 * max(factors):
            self._problem("hr_resize_y", high, f"with hr_resize_x {wide} the shape of the first pass")
            return
        self.values["hires_scale"] = factors[0]

    def _start(self) -> Kind:
        """The picture that the run begins with, and its mask; which kind of request that is."""
        values = self.values
        self._forget_second_pass()
        images = self.body.get("init_images")
        if not isinstance(images, list) or len(images) != 1:
            count = f"{len(images)} pictures" if isinstance(images, list) else images
            self._problem("init_images", count, "a list of one picture")
        else:
            values["image"] = self._picture("init_images", images[0])
        values["strength"] = self.body.get("denoising_strength", _STRENGTH)
        mode = self._whole("resize_mode", 0, 0, len(_RESIZE_MODES) - 1)
        values["resize_mode"] = _RESIZE_MODES[mode]
        if "mask" not in self.body:
            return ImageToImage
        for theirs in ("mask_blur", "inpaint_full_res_padding"):
            values.setdefault(SAME[theirs], _DEFAULTS[theirs])
        blurs = {
            self.body[name] for name in ("mask_blur_x", "mask_blur_y") if isinstance(self.body.get(name), (int, float))
        }
        if blurs and "mask_blur" not in self.body:
            values["mask_blur"] = blurs.pop()
            if blurs:
                self._problem("mask_blur_y", self.body["mask_blur_y"], "as wide as mask_blur_x")
        values["mask_fill"] = _FILLS[self._whole("inpainting_fill", 0, 0, len(_FILLS) - 1)]
        values["inpaint_area"] = "masked" if self._flag("inpaint_full_res", True) else "whole"
        mask = self._picture("mask", self.body["mask"])
        is_inverted = self._flag("inpainting_mask_invert", False)
        values["mask"] = masks.inverted(mask) if is_inverted and mask else mask
        return Inpaint

    def _picture(self, field: str, text: object) -> bytes:
        try:
            return base64_pictures.read(field, text)
        except InvalidRequest as error:
            self.problems += error.problems
            return b""

    def _echo(self) -> Mapping[str, object]:
        back = bool(self.body.get("include_init_images", False))
        return {
            name: value if back or name not in ("init_images", "mask") else None
            for name, value in self.body.items()
            if name != "include_init_images"
        }
