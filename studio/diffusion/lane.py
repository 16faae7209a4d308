"""One image being denoised. A lane gives the U-Net call that it needs next, and the answer advances it.

It never calls the U-Net itself and knows no engine, job or page; five lines drive it:

    while not lane.is_finished:
        call = lane.call()
        timestep = torch.full((len(call.sample),), call.timestep)
        answer = unet(call.sample, timestep, call.prompt_embeds, added_cond_kwargs=call.added, return_dict=False)[0]
        evaluation = lane.advance(answer)
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import torch
from PIL import Image

from studio.asked.fields import ImageToImage, Inpaint
from studio.asked.forecast import Asked, ForecastName
from studio.asked.guidance import USUAL_GUIDANCE, GuidanceSettings
from studio.asked.resolved import Resolved
from studio.diffusion.attention import AttentionMaps, RecordMaps
from studio.diffusion.attention_edits import AttentionEdit
from studio.diffusion.components import Components
from studio.diffusion.conditions import size_conditions
from studio.diffusion.controlnet import AppliedControl
from studio.diffusion.denoisers import DENOISERS
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.forecast import Forecast, place_of
from studio.diffusion.guidance import composed, guidance_embedding
from studio.diffusion.guidance_methods import GuidanceMethod
from studio.diffusion.latents import (
    Beginning,
    UnmaskedPart,
    Variation,
    beginning_from_picture,
    first_latents,
    image_generator,
    inpainting_input,
    repaint_everything,
)
from studio.diffusion.lora import AppliedAdapter
from studio.diffusion.planned import with_first_noise
from studio.diffusion.prompt import Conditioning
from studio.diffusion.schedule import Schedule, make_schedule
from studio.diffusion.scheduler_switch import SchedulerSwitch, switched_schedule
from studio.diffusion.unet_call import UnetCall
from studio.diffusion.word_layout import RecordedRow


class Lane:
    """One image on its way from first latents to clean ones.

    `latents` are (1, C, h, w) float32 in the scheduler's scale; `generator` is the image's own and goes on where the
    first latents left it. The latents stay float32 whatever the model's dtype is. `unmasked_part`: what stays of a
    masked picture. `conditioning` is what the prompts are encoded to. `added_conditions` are added_cond_kwargs that
    hold for the whole run (SDXL's time_ids), each (rows, ...). `extra_input` (1, C', h, w) is put behind the
    latents' channels in every U-Net call: an inpainting U-Net's mask and masked picture. `controls` are its
    ControlNets, those that act at some time of the run; `edits` change its attention or look at it. `guidance` says
    how predictions become one, and at which noise levels: at the others a lane asks for the prompt's row alone.
    `forecast`: which share of its evaluations is forecast.
    """

    def __init__(
        self,
        *,
        components: Components,
        schedule: Schedule,
        latents: torch.Tensor,
        generator: torch.Generator,
        conditioning: Conditioning,
        guidance_scale: float,
        unmasked_part: UnmaskedPart | None = None,
        added_conditions: Mapping[str, torch.Tensor] | None = None,
        extra_input: torch.Tensor | None = None,
        adapters: Sequence[AppliedAdapter] = (),
        controls: Sequence[AppliedControl] = (),
        edits: Sequence[AttentionEdit] = (),
        guidance: GuidanceSettings = USUAL_GUIDANCE,
        forecast: ForecastName = "off",
    ) -> None:
        self.schedule = schedule
        self.latents = latents
        self.guidance_scale = guidance_scale
        self.index = 0  # number of evaluations done
        self.switches: dict[int, SchedulerSwitch] = {}  # where another scheduler took over, by evaluation
        self._generator = generator
        self._unmasked_part = unmasked_part
        self.conditioning = conditioning
        self._branches = components.branches(guidance_scale)
        self._weights = conditioning.weights
        width = components.guidance_width
        self._guidance = guidance_embedding(guidance_scale, width) if width else None
        self._added_conditions = dict(added_conditions or {})
        # What the prompt's row alone is given, where guidance does not act; a composed prompt needs all its rows.
        alone = guidance.has_band and self._branches > 1 and not self._weights
        self._alone = conditioning.prompt_alone() if alone else None
        self._added_alone = {name: value[-1:] for name, value in self._added_conditions.items()}
        self._extra_input = extra_input
        self._adapters = tuple(adapters)
        self._controls = tuple(controls)
        self._edits = tuple(edits)
        self.recorded_row: RecordedRow | None = None  # by whose maps a lane of one text attends
        self._dtype = components.dtype
        self._denoiser = DENOISERS[components.family.denoiser]
        self._prediction_type = components.prediction_type
        self._method = GuidanceMethod(guidance, components.prediction_type)
        self._scheduler_config = components.scheduler_config
        self._timesteps = [float(t) for t in schedule.timesteps]
        self._model_input: torch.Tensor | None = None  # model input of the call that waits for its answer
        self.forecasts = Forecast(forecast, components.prediction_type)
        self.plan_forecasts()

    @property
    def total(self) -> int:
        """U-Net evaluations of the whole run."""
        return self.schedule.total

    @property
    def rows(self) -> int:
        """Of its next U-Net call."""
        if self._weights:
            return 1 + len(self._weights)
        return (self._branches if self._is_guided_here else 1) + (self._recorded_row_here is not None)

    @property
    def _recorded_row_here(self) -> RecordedRow | None:
        row = self.recorded_row
        return row if row is not None and row.acts(self.index) else None

    @property
    def _is_guided_here(self) -> bool:
        return self._branches > 1 and (self.total == 0 or self._is_guided_at(min(self.index, self.total - 1)))

    def _is_guided_at(self, index: int) -> bool:
        return self._branches > 1 and self._method.settings.acts_at(self.schedule.levels[index].sigma)

    @property
    def is_forecast(self) -> bool:
        """Whether its next evaluation is forecast: `forecast` makes it, without a call of the U-Net."""
        return self.index in self.forecasts.evaluations

    @property
    def is_finished(self) -> bool:
        """True when the latents are clean."""
        return self.index >= self.total

    @property
    def key(self) -> Hashable:
        """Lanes of the same components with equal keys fit into one call of the denoiser."""
        embeds, conditions = self._condition()
        shapes = self._denoiser.batch_key(
            tuple(self.latents.shape[1:]),
            tuple(embeds.shape[1:]),
            {name: tuple(value.shape[1:]) for name, value in conditions.items()},
        )
        adapters = tuple((id(one.adapter), one.unet_scale) for one in self._adapters)
        # Lanes with different ControlNets could share a call, but then its cost per row would not be one number.
        nets = tuple(id(one.net) for one in self._controls)
        edits = tuple(edit.shape for edit in self._edits_now())
        return shapes, adapters, nets, edits

    @torch.inference_mode()
    def call(self) -> UnetCall:
        """The next U-Net call. Asking twice gives the same call."""
        self._model_input = self.schedule.model_input(self.index, self.latents)
        sample, rows = self._model_input.to(self._dtype), self.rows
        if (row := self._recorded_row_here) is not None:
            sample = row.sample(self.index, sample, rows - 1)
        if self._extra_input is not None:
            sample = torch.cat([sample, self._extra_input.to(sample).expand(len(sample), -1, -1, -1)], dim=1)
        embeds, conditions = self._condition()
        if rows > len(sample):
            sample = sample.expand(rows, -1, -1, -1)
        controls = tuple(one for one in self._controls if one.acts(self.index, self.total))
        return UnetCall(
            sample,
            self._timesteps[self.index],
            embeds,
            conditions,
            adapters=self._adapters,
            controls=controls,
            edits=self._edits_now(),
            guidance=self._guidance,
        )

    @torch.inference_mode()
    def advance(self, model_output: torch.Tensor) -> Evaluation:
        """Take the U-Net's answer (rows, C, h, w) to the last `call` and advance by one evaluation. The texts of a
        composed prompt become one conditional prediction, float32, which is the evaluation's.

        Raises RuntimeError without a `call` since the last answer.
        """
        if self._recorded_row_here is not None:
            model_output = model_output[1:]
        if self._weights:
            conditional = composed(model_output, self._weights)
            outputs = [model_output[:1].float(), conditional] if self._is_guided_here else [conditional]
            model_output = torch.cat(outputs)
        return self._take(model_output)

    @torch.inference_mode()
    def forecast(self) -> Evaluation:
        """Advance by one evaluation whose answer is forecast, without the U-Net. Raises ValueError where it is not to
        be forecast."""
        if not self.is_forecast:
            raise ValueError(f"evaluation {self.index} is not to be forecast")
        self.call()
        assert self._model_input is not None
        outputs = self.forecasts.outputs(self.schedule.levels[self.index], self._model_input)
        return self._take(outputs, is_forecast=True)

    def plan_forecasts(self, begin: int | None = None) -> None:
        """Decide which evaluations are forecast, from those computed from `begin` on. Where the latents or what is
        asked have changed that is the next one (None)."""
        if self.forecasts.is_on:
            begin = self.index if begin is None else begin
            asked = [self._asked(index) for index in range(self.total)]
            self.forecasts.plan(asked, begin, forget=begin == self.index)

    def _asked(self, index: int) -> Asked:
        texts = id(self.conditioning.at(self.schedule.steps[index])[0])
        acting = [id(one) for one in self._controls if one.acts(index, self.total)]
        looked_at = () if self.recorded_row is None else (self.recorded_row,)
        acting += [id(one) for one in (*self._edits, *looked_at) if one.acts(index)]
        place = place_of(self.schedule.levels[index], self._prediction_type)
        return Asked(place, (texts, self._is_guided_at(index), *acting))

    def _take(self, model_output: torch.Tensor, *, is_forecast: bool = False) -> Evaluation:
        """Advance with the predictions (branches, C, h, w), the negative prompt's first."""
        if self._model_input is None:
            raise RuntimeError("a lane was given an answer that it had not asked for")
        index, level, x_t = self.index, self.schedule.levels[self.index], self._model_input
        outputs = model_output.float()
        if not is_forecast:
            self.forecasts.add(level, x_t, outputs)
        guided_output = self._method.guide(outputs, self.guidance_scale, x_t, level)
        evaluation = Evaluation(
            index=index,
            total=self.total,
            stage=self.schedule.stages[index],
            timestep=self._timesteps[index],
            level=level,
            x_t=x_t[0],
            model_output=guided_output[0],
            prediction_type=self._prediction_type,
            step=self.schedule.steps[index],
            guidance_scale=self.guidance_scale if len(outputs) > 1 else 1.0,
            outputs=model_output,
            latents=self.latents[0],
            scale=self.schedule.scale(index),
            is_forecast=is_forecast,
        )
        mixed, step_output = self._method.for_step(guided_output, outputs, x_t, level)
        latents = self.latents if mixed is x_t else mixed * self.schedule.scale(index)
        self.latents = self.schedule.step(index, step_output, latents, self._generator)
        if self._unmasked_part is not None:
            self.latents = self._unmasked_part.put_back(self.latents, self.schedule, index + 1)
        self.index = index + 1
        self._model_input = None
        return evaluation

    def replay(self, model_output: torch.Tensor, guidance_scale: float, *, is_forecast: bool = False) -> None:
        """Advance by one evaluation with an earlier answer. The lane's own guidance and prompt have no effect."""
        own, self.guidance_scale = self.guidance_scale, guidance_scale
        try:
            self.call()
            self._take(model_output, is_forecast=is_forecast)
        finally:
            self.guidance_scale = own

    def add_edits(self, *edits: AttentionEdit) -> None:
        """Change its attention, or look at it, in other ways as well."""
        self._edits += edits
        self.plan_forecasts(self.forecasts.begin)

    def _edits_now(self) -> tuple[AttentionEdit, ...]:
        """The edits that act in the next evaluation."""
        edits = tuple(edit for edit in self._edits if edit.acts(self.index))
        return edits if (row := self._recorded_row_here) is None else (row.maps, *edits)

    def recorded_maps(self) -> AttentionMaps | None:
        """Where the U-Net looked since the last call of this; None for a lane that records no maps."""
        return next((edit.take() for edit in self._edits if isinstance(edit, RecordMaps)), None)

    def take_noise(self, seed: int, latents: torch.Tensor | None = None) -> torch.Tensor:
        """Draw a noise (1, C, h, w) from another seed, and take all later noise from that seed as well. `latents`, if
        any, replace the lane's."""
        self._generator = image_generator(seed)
        noise = torch.randn(self.latents.shape, generator=self._generator).to(self.latents.device)
        self.schedule.reseed(seed)
        if latents is not None:
            self.latents = latents
        return noise

    def switch_scheduler(self, switch: SchedulerSwitch) -> None:
        """Use another scheduler from the next evaluation on. x_t stays the same; the latents are rescaled to the new
        scheduler's scale. Raises ValueError for a scheduler that cannot run what the checkpoint predicts."""
        x_t = self.latents / self.schedule.scale(self.index)
        self.schedule = switched_schedule(
            self.schedule, self.index, switch, self._scheduler_config, self._prediction_type
        )
        self._timesteps = [float(t) for t in self.schedule.timesteps]
        self.latents = x_t * self.schedule.scale(self.index)
        self.switches[self.index] = switch
        self.plan_forecasts()

    def _condition(self) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        step = self.schedule.steps[min(self.index, self.total - 1)] if self.total else 0
        if self._alone is not None and not self._is_guided_here:
            embeds, conditions = self._alone.at(step)
            conditions = {**conditions, **self._added_alone}
        else:
            embeds, conditions = self.conditioning.at(step)
            conditions = {**conditions, **self._added_conditions}
        row = self._recorded_row_here
        return (embeds, conditions) if row is None else row.condition(step, embeds, conditions)


@torch.inference_mode()
def schedule_of(components: Components, resolved: Resolved, seed: int = 0) -> Schedule:
    """The schedule of one pass of a run; the seed has a say in schedulers that draw noise of their own."""
    return make_schedule(
        resolved.scheduler,
        resolved.noise_schedule,
        resolved.num_inference_steps,
        components.scheduler_config,
        strength=resolved.strength,
        seed=seed,
        prediction_type=components.prediction_type,
        family=components.family,
        noise=resolved.noise,
    )


def start_lane(
    components: Components,
    resolved: Resolved,
    *,
    seed: int,
    conditioning: Conditioning,
    picture: Image.Image | torch.Tensor | None = None,
    mask: Image.Image | None = None,
    variation: Variation | None = None,
    adapters: Sequence[AppliedAdapter] = (),
    controls: Sequence[AppliedControl] = (),
    edits: Sequence[AttentionEdit] = (),
) -> Lane:
    """A lane for one image of a run. `picture` is the decoded input picture of a request that starts from one, as
    large as what is made, or its latents; `mask` (L, of its size) that of an Inpaint request.

    `conditioning` comes from prompt.encode_prompts; `adapters` are the prompt's LoRAs, `controls` the request's
    ControlNets with their maps at the size that is made, `edits` those of its attention.
    """
    request = resolved.request
    schedule = schedule_of(components, resolved, seed)
    generator = image_generator(seed)
    if isinstance(request, ImageToImage):
        if picture is None or (mask is None) == isinstance(request, Inpaint):
            raise ValueError("picture, mask: a request that starts from a picture needs it decoded, and its mask")
        fill = request.mask_fill if isinstance(request, Inpaint) else "original"
        beginning = beginning_from_picture(
            components, generator, picture, schedule, mask=mask, mask_fill=fill, variation=variation
        )
    else:
        beginning = Beginning(
            first_latents(components, generator, resolved.width, resolved.height, schedule, variation)
        )
    if resolved.noise.noise_seed_delta:
        generator = image_generator(resolved.noise.seed_after(seed))
    if not isinstance(request, ImageToImage):
        beginning = replace(beginning, latents=with_first_noise(schedule.scheduler, beginning.latents, generator))
    factor = components.vae_scale_factor
    width, height = beginning.latents.shape[-1] * factor, beginning.latents.shape[-2] * factor
    unmasked_part, extra_input = beginning.unmasked_part, None
    if components.is_inpainting:
        if (
            isinstance(picture, Image.Image) and mask is not None
        ):  # the U-Net itself sees what stays: nothing is put back
            extra_input, unmasked_part = inpainting_input(components, picture, mask), None
        else:
            extra_input = repaint_everything(components, width, height)
    return Lane(
        components=components,
        schedule=schedule,
        latents=beginning.latents,
        generator=generator,
        conditioning=conditioning,
        guidance_scale=resolved.guidance_scale,
        unmasked_part=unmasked_part,
        added_conditions=size_conditions(components, width, height, conditioning.rows),
        extra_input=extra_input,
        adapters=adapters,
        controls=controls,
        edits=edits,
        guidance=resolved.guidance,
        forecast=resolved.request.forecast,
    )
