"""From a lane to its recording: the tensors brought to the CPU, and what is said of the run as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from studio.asked.schedulers import SCHEDULERS, NoiseScheduleName, resolve_noise_schedule
from studio.diffusion.attention import FINE_PLACES, AttentionMaps, TokenRow, merge_chunks, token_rows
from studio.diffusion.components import Components
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.scheduler_switch import SchedulerSwitch
from studio.diffusion.tokens import text_at, text_encoders, token_table
from studio.engine.forks import ImageRecipe
from studio.engine.recorded_evaluation import RecordedAttention, RecordedEvaluation
from studio.engine.runs import ActiveImage, Run
from studio.engine.viewer.lost_words import lost_above
from studio.engine.viewer.measures import guided_output
from studio.engine.viewer.steering import labels_of

Array = np.ndarray[Any, np.dtype[Any]]


def on_cpu(tensor: torch.Tensor) -> Array:
    """A copy that shares no memory with what goes on being used, float32 or float16."""
    exact = tensor.float() if tensor.dtype == torch.bfloat16 else tensor  # NumPy has no bfloat16
    return np.array(exact.cpu().numpy())


def record_of(
    evaluation: Evaluation, seconds: float, rows: int, attention: RecordedAttention | None = None
) -> RecordedEvaluation:
    """One evaluation as it is kept. `seconds` is the time of its U-Net call, `rows` all the rows that shared it."""
    record = RecordedEvaluation(
        index=evaluation.index,
        stage=evaluation.stage,
        step=evaluation.step,
        timestep=evaluation.timestep,
        sigma=evaluation.sigma,
        a=evaluation.a,
        s=evaluation.s,
        scale=evaluation.scale,
        prediction_type=evaluation.prediction_type,
        guidance_scale=evaluation.guidance_scale,
        latents=on_cpu(evaluation.latents),
        outputs=on_cpu(evaluation.outputs),
        seconds=seconds,
        rows=rows,
        is_forecast=evaluation.is_forecast,
        attention=attention,
    )
    model_output = on_cpu(evaluation.model_output)
    return record if np.array_equal(model_output, guided_output(record)) else replace(record, guided=model_output)


def _branch(run: Run) -> dict[str, object] | None:
    node = run.job.node
    if node is None:
        return None
    return {"job_id": node.parent, "image": node.image, "evaluation": node.evaluation, "changed": node.changed}


def most_places(components: Components) -> int | None:
    """Of the layers where it is recorded where the U-Net looks. On a CPU the layers of many places would take most of
    the time that looking takes; elsewhere there is no limit."""
    return FINE_PLACES if components.device.type == "cpu" else None


def attention(active: ActiveImage, step: int, maps: AttentionMaps) -> RecordedAttention:
    """Where the U-Net looked in one call, the padding of each chunk summed into one row."""
    here = active.run.of(active.image)
    tokens: Any = active.run.facts[here]["tokens"]
    conditioning = here.conditioning
    text, rows = rows_at(tokens["prompt"], conditioning.chunks, conditioning.positions, step)
    groups = {
        f"attention.{place}.{height}x{width}": on_cpu(merge_chunks(weights, rows, conditioning.positions).half())
        for (place, height, width), weights in maps.groups.items()
    }
    return RecordedAttention(groups, text, tuple(asdict(layer) for layer in maps.layers))


def rows_at(prompt: list[dict[str, Any]], chunks: int, positions: int, step: int) -> tuple[int, list[TokenRow]]:
    """Which text of a prompt (a `token_table`) holds at a 0-based step, and what the rows of its maps stand
    for. They have so many chunks of so many positions."""
    text = text_at(prompt, step)
    return text, token_rows(_content(prompt[text]), chunks, positions)


def _content(entry: dict[str, Any]) -> list[int]:
    """Content tokens of each chunk of a text."""
    return [chunk["kinds"].count("content") for chunk in entry["chunks"]]


def _rows(prompt: list[dict[str, Any]], chunks: int, positions: int) -> list[list[dict[str, int | None]]]:
    """What the rows of the attention maps stand for, for each text of the prompt."""
    return [[asdict(row) for row in token_rows(_content(entry), chunks, positions)] for entry in prompt]


def fast_decoder(components: Components) -> tuple[Array, Array] | None:
    """The fast preview's (weight, bias), for a reader that decodes by itself."""
    fast = components.fast_preview
    return (on_cpu(fast[0].float()), on_cpu(fast[1].float())) if fast is not None else None


def recipe(run: Run, image: int, switches: Mapping[int, SchedulerSwitch]) -> ImageRecipe:
    """What a branch of one image of a run begins with. `switches` are its lane's."""
    resolved = run.resolved.of_image(image)
    fork = run.job.fork
    tokens: Any = run.facts[run.of(image)]["tokens"]
    words = labels_of(tokens["prompt"])
    if fork is None:
        return ImageRecipe(
            resolved,
            run.start,
            run.job.attention,
            files=run.files,
            models=run.job.rules.models,
            has_exact_weights=run.job.has_exact_weights,
            words=words,
        )
    return ImageRecipe(
        resolved,
        run.start,
        run.job.attention,
        fork.noise_seeds,
        fork.painted_evaluations,
        dict(switches),
        fork.beginning_curve,
        run.files,
        run.job.rules.models,
        run.job.has_exact_weights,
        words,
        fork.word_weights,
        fork.layout,
        fork.forecast_begin,
    )


def schedulers(run: Run, switches: Mapping[int, SchedulerSwitch]) -> list[dict[str, object]]:
    """Which scheduler made which evaluations of an image: the first ones, and from each switch on another."""
    fork = run.job.fork
    beginning = fork.beginning_curve if fork is not None else (run.resolved.scheduler, run.resolved.noise_schedule)
    first_schedule: NoiseScheduleName | None = resolve_noise_schedule(*beginning, run.resolved.prediction_type)
    entries = [
        (0, beginning[0], first_schedule),
        *((k, switches[k].scheduler, switches[k].noise_schedule) for k in sorted(switches)),
    ]
    return [
        {
            "evaluation": evaluation,
            "scheduler": name,
            "scheduler_label": SCHEDULERS[name].label,
            "noise_schedule": noise_schedule,
            "adds_noise": SCHEDULERS[name].adds_noise or (name == run.resolved.scheduler and run.resolved.adds_noise),
        }
        for evaluation, name, noise_schedule in entries
    ]


def _plain(config: Mapping[str, object]) -> dict[str, object]:
    """Of a checkpoint's scheduler configuration what has a plain value."""
    return {k: v for k, v in config.items() if not k.startswith("_") and isinstance(v, bool | int | float | str)}


def _second_pass(run: Run) -> dict[str, object] | None:
    """Of a picture that is made twice, what its second pass makes: it is not recorded, since a recording has one size,
    and one request that can be branched from."""
    second = run.resolved.second_pass
    if second is None:
        return None
    return {"width": second.width, "height": second.height, "steps": second.steps, "strength": second.strength}


def run_facts(run: Run, image: int, components: Components) -> dict[str, object]:
    """What the header of a recording says of the run of an image, and of those with the same prompts, JSON-able. The
    caller holds the tokenizer."""
    here = run.of(image)
    resolved, conditioning = here.resolved, here.conditioning
    steps = resolved.steps
    tokens = {"prompt": token_table(components, conditioning.prompt, steps)}
    if conditioning.negative_prompt is not None:
        tokens["negative_prompt"] = token_table(components, conditioning.negative_prompt, steps)
    return {
        "format": 2,
        "total": run.total,
        "kind": resolved.request.kind,
        "steps": steps,
        **resolved.recorded_fields(),
        "scheduler_label": SCHEDULERS[resolved.scheduler].label,
        "adds_noise": resolved.adds_noise,
        "second_pass": _second_pass(run),
        "prediction_type": components.prediction_type,
        "tokens": tokens,
        "prompt_notes": run.prompt_notices(image),
        "text_encoders": text_encoders(components),
        "attention_rows": _rows(tokens["prompt"], conditioning.chunks, conditioning.positions)
        if run.job.attention
        else None,
        "lost_above": [lost_above(len(words)) for _, words in labels_of(tokens["prompt"])]
        if run.job.attention
        else None,
        "attention_most_places": most_places(components) if run.job.attention else None,
        "branch": _branch(run),
        "model": {
            "family": components.family.name,
            "dtype": str(components.dtype).removeprefix("torch."),
            "device": components.device.type,
            "latent_channels": components.latent_channels,
            "vae_scale_factor": components.vae_scale_factor,
            "scaling_factor": float(components.vae.config.scaling_factor),
            "tiny_decoder": components.tiny_vae is not None,
            "shift_factor": float(getattr(components.vae.config, "shift_factor", None) or 0.0),
            "scheduler_config": _plain(components.scheduler_config),
            "training_steps": int(components.scheduler_config.get("num_train_timesteps", 1000)),
        },
    }
