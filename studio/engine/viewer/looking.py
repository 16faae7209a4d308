"""Questions about one recorded evaluation: answered from its recording, or by making its U-Net call once more.

The call is made by a lane that was brought back to where the recorded one stood, so it is the same call; its answer is
thrown away, and only where it looked is kept. Formats: docs/viewer.md.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from studio.answered.engine import Answer, Refused
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.questions import DecodeQuantity, Heads, LookAgain, SelfAttention, WeightedWords
from studio.asked.word_weights import WordWeights, read_weights
from studio.diffusion import vae
from studio.diffusion.attention import FINE_PLACES, RecordHeads, RecordMaps, merge_chunks
from studio.diffusion.attention_edits import CROSS, SELF
from studio.diffusion.attention_steering import TokenFactors
from studio.diffusion.components import Components
from studio.diffusion.lane import Lane
from studio.diffusion.quantities import noise_terms, x0_terms
from studio.diffusion.tokens import token_table
from studio.engine.forks import Fork
from studio.engine.recorded_evaluation import RecordedEvaluation
from studio.engine.viewer.answer_format import safetensors
from studio.engine.viewer.inquiries import Denoise, Inquiry, Slices
from studio.engine.viewer.measures import guided_output, model_input
from studio.engine.viewer.recording import on_cpu, rows_at
from studio.engine.viewer.steering import word_factors
from studio.engine.word_layouts import check_change

Array = np.ndarray[Any, np.dtype[Any]]

JPEG_QUALITY = 92


def slices(
    inquiry: Inquiry,
    components: Components,
    lane_of: Callable[[Fork], Lane],
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
) -> Slices:
    """The work of a question about a recorded evaluation. `lane_of` makes a lane that stands where a fork leaves its
    run, `denoise` calls the U-Net."""
    question, fork = inquiry.question, inquiry.fork
    assert fork is not None
    if isinstance(question, DecodeQuantity):
        return _decode(question, fork.evaluation, components)
    if isinstance(question, SelfAttention):
        return _self_attention(question, fork, components, lane_of, denoise)
    if isinstance(question, Heads):
        return _heads(question, fork, components, lane_of, denoise, tokenizer_lock)
    if isinstance(question, WeightedWords):
        return _weighted(question, fork, components, lane_of, denoise, tokenizer_lock)
    raise TypeError(f"nobody answers {type(question).__name__}")


def quantity_of(evaluation: RecordedEvaluation, quantity: str) -> Array:
    """A quantity of `studio.asked.questions.DECODABLE` (C, h, w) float32, in model-input coordinates.

    Raises Refused where it has no value."""
    if quantity == "x_t":
        return model_input(evaluation)
    kind, _, branch = quantity.partition("_")
    if quantity in ("denoised", "noise_pred"):
        kind, output = "x0" if quantity == "denoised" else "eps", guided_output(evaluation)
    elif branch == "uncond" and len(evaluation.outputs) < 2:
        raise Refused(Message("Not available: with guidance 1 the network is called once, with the prompt."))
    else:
        output = evaluation.outputs[0 if branch == "uncond" else -1].astype(np.float32)
    terms = (x0_terms if kind == "x0" else noise_terms)(evaluation.a, evaluation.s, evaluation.prediction_type)
    if terms is None:
        raise Refused(Message("Undefined here: there is no signal in x_t, or no noise."))
    return np.asarray(np.float32(terms.of_input) * model_input(evaluation) + np.float32(terms.of_output) * output)


def _decode(question: DecodeQuantity, evaluation: RecordedEvaluation, components: Components) -> Slices:
    latents = torch.tensor(quantity_of(evaluation, question.quantity))[None].to(components.device)
    if question.decoder == "tiny" and components.tiny_vae is None:
        raise Refused(
            Message("This checkpoint has no tiny decoder. A TAESD file for its latents is put into models/vae_approx.")
        )
    decode = vae.decode_tiny if question.decoder == "tiny" else vae.decode
    picture = vae.to_pictures(decode(components, latents))[0]
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    yield
    return Answer(content=file.getvalue(), media_type="image/jpeg")


def _facts(question: LookAgain, fork: Fork) -> dict[str, object]:
    return {
        "job": fork.parent,
        "which": fork.image,
        "evaluation": question.evaluation,
        "checkpoint": question.checkpoint,
    }


def _self_attention(
    question: SelfAttention,
    fork: Fork,
    components: Components,
    lane_of: Callable[[Fork], Lane],
    denoise: Denoise,
) -> Slices:
    call = lane_of(fork).call()
    yield
    record = RecordMaps(SELF, most_places=FINE_PLACES)
    denoise([replace(call, edits=(*call.edits, record))])
    maps, tensors = record.take(), {}
    for (place, height, width), weights in maps.groups.items():  # (places looked at, h, w): one row for each that looks
        tensors[f"self.{place}.{height}x{width}"] = on_cpu(weights.flatten(1).T.unflatten(1, (height, width)).half())
    if not tensors:
        raise Refused(Message("This checkpoint has no self-attention on a grid of at most 32 × 32 places."))
    return safetensors(tensors, _facts(question, fork) | {"layers": [asdict(layer) for layer in maps.layers]})


def _heads(
    question: Heads,
    fork: Fork,
    components: Components,
    lane_of: Callable[[Fork], Lane],
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
) -> Slices:
    layers = [name for name, _ in components.attention_layers if name.endswith(CROSS)]
    if question.layer not in layers:
        raise InvalidRequest(
            Problem("layer", quoted_value(question.layer), Message("one of {layers}", layers=", ".join(layers)))
        )
    lane = lane_of(fork)
    call = lane.call()
    yield
    with tokenizer_lock:
        table = token_table(components, lane.conditioning.prompt, fork.recipe.resolved.steps)
    chunks, positions = lane.conditioning.chunks, lane.conditioning.positions
    text, rows = rows_at(table, chunks, positions, fork.evaluation.step)
    record = RecordHeads(question.layer)
    denoise([replace(call, edits=(*call.edits, record))])
    layer_maps = record.maps
    assert layer_maps.weights is not None
    assert layer_maps.layer is not None
    tensors = {
        "heads": on_cpu(torch.stack([merge_chunks(head, rows, positions) for head in layer_maps.weights]).half())
    }
    facts = {
        "attention_text": text,
        "layer": asdict(layer_maps.layer),
        "rms": layer_maps.rms,
        "scale": layer_maps.scale,
    }
    return safetensors(tensors, _facts(question, fork) | facts)


def _weighted(
    question: WeightedWords,
    fork: Fork,
    components: Components,
    lane_of: Callable[[Fork], Lane],
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
) -> Slices:
    """The recorded call with other weights of words. They stand in place of those that the run had there."""
    weights = WordWeights(weights=read_weights(question.word_weights), first=question.evaluation)
    weights.check(fork.recipe.words_at(fork.evaluation.step))
    check_change(fork.layout, question.evaluation, "word_weights", question.word_weights)
    lane = lane_of(fork)
    with tokenizer_lock:
        table = token_table(components, lane.conditioning.prompt, fork.recipe.resolved.steps)
    factors = word_factors(lane, table, weights)
    call = lane.call()
    yield
    others = tuple(edit for edit in call.edits if not isinstance(edit, TokenFactors))
    evaluation = lane.advance(denoise([replace(call, edits=(*others, factors))]))
    noise_pred, former = on_cpu(evaluation.noise_pred), quantity_of(fork.evaluation, "noise_pred")
    tensors = {"noise_pred": noise_pred, "noise_change": noise_pred - former}
    if evaluation.level.a:
        tensors["denoised"] = on_cpu(evaluation.denoised)
    words = fork.recipe.words_at(fork.evaluation.step)
    facts = {
        "words": [{"number": k, "word": words[k], "weight": weight} for k, weight in weights.weights],
        "rms_change": rms(tensors["noise_change"]),
        "rms_noise": rms(former),
    }
    return safetensors(tensors, _facts(question, fork) | facts)


def rms(values: Array) -> float:
    """The root of the mean square of an array, of any shape."""
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))
