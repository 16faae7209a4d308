"""What an error means for the visitor: a kind, a sentence that says what to do, and an id that the log has too."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from studio.answered.engine import Refused
from studio.answered.events import Failed, FailureKind
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import Resolved
from studio.asked.schedulers import SCHEDULERS
from studio.checkpoints.device_memory import DoesNotFit
from studio.checkpoints.inspect import BadCheckpoint
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.lane import Lane
from studio.diffusion.vae import NotFinite, is_finite
from studio.engine.device import Device
from studio.engine.jobs import Job
from studio.picture.gallery import SaveFailed

logger = logging.getLogger(__name__)


HELD_BACK = Message("The safety checker of this studio holds this picture back. Try other words or another seed.")
NO_SAFETY_CHECKER = Message(
    "The owner of this studio wants pictures to be looked at by a safety checker, "
    "and there is none in the models folders."
)


class HeldBack(Exception):
    """The safety checker has flagged every picture of a job."""


class Closing(Exception):
    """The engine is being closed; raised out of a long load, and no job's failure."""


@contextmanager
def ending(job: Job, fail: Callable[[Job, Exception], None]) -> Iterator[None]:
    """Whatever goes wrong inside ends this job and nothing else."""
    try:
        yield
    except Closing:
        raise
    except Exception as error:
        fail(job, error)


def check_finite(lane: Lane, evaluation: Evaluation) -> None:
    """Raise NotFinite, naming the part at fault, where an evaluation has left the range of numbers. Where the model's
    answer itself is finite, it is the scheduler."""
    if is_finite(lane.latents) and is_finite(evaluation.denoised):
        return
    place = Message("evaluation {index} of {total}", index=evaluation.index + 1, total=evaluation.total)
    if not is_finite(evaluation.outputs):
        raise NotFinite(place, "model")
    raise NotFinite(Message("{place} by {label}", place=place, label=SCHEDULERS[lane.schedule.name].label), "scheduler")


def drifts(resolved: Resolved, distance: float) -> str:
    """What is to be known of a run whose scheduler itself strays from the picture."""
    return Message(
        "{label} does not hold on these steps: with a model that makes no mistake it "
        "would still end {distance} standard deviations away from the picture. Take more "
        "steps, another scheduler "
        "or another noise schedule.",
        label=SCHEDULERS[resolved.scheduler].label,
        distance=f"{distance:.3g}",
    )


def failed_event(
    job_id: str, checkpoint: str, error: Exception, device: Device, size: tuple[int, int] | None = None
) -> Failed:
    """The terminal event of an error; writes the traceback to the log and lets go of what its frames hold. `size`: of
    the picture, where it is known already."""
    kind, message = _explanation(checkpoint, size, error, device)
    error_id = secrets.token_hex(4)
    is_expected = kind in ("bad_request", "bad_checkpoint", "disk")
    logger.error("Job failed (%s, error id %s): %s", kind, error_id, error, exc_info=None if is_expected else error)
    error.__traceback__ = None
    return Failed(job_id=job_id, kind=kind, message=message, error_id=error_id)


def _explanation(
    checkpoint: str, size: tuple[int, int] | None, error: Exception, device: Device
) -> tuple[FailureKind, str]:
    if isinstance(error, DoesNotFit):
        return "out_of_memory", str(error)
    if device.is_out_of_memory(error):
        size_text = f"{size[0]}x{size[1]}" if size is not None else Message("this size")
        return "out_of_memory", (
            Message(
                "A picture of {size_text} does not fit into the free memory of this device "
                "({device}). "
                "Lower the width and height, shorten a very long prompt, or close other programs "
                "that use it.",
                size_text=size_text,
                device=device.label,
            )
        )
    if isinstance(error, InvalidRequest):  # what only the loaded model's tokenizer could tell
        return "bad_request", str(error)
    if isinstance(error, HeldBack):
        return "bad_request", HELD_BACK
    if isinstance(error, BadCheckpoint):
        return "bad_checkpoint", str(error)
    if isinstance(error, SaveFailed):
        return "disk", str(error)
    if isinstance(error, NotFinite) and error.damaged:
        return "bad_checkpoint", (
            Message(
                "The checkpoint {checkpoint} is damaged: {damaged} holds values that are not "
                "numbers. "
                "Get the file again, or choose another checkpoint.",
                checkpoint=checkpoint,
                damaged=error.damaged,
            )
        )
    if isinstance(error, NotFinite):
        return "not_finite", _no_number(error)
    missing = device.lacks(error)
    if missing is not None:
        return "internal", (
            Message(
                "This device ({device}) lacks {missing}, which this picture needs. Start the studio "
                "with --device "
                "cpu; on an Apple GPU, PYTORCH_ENABLE_MPS_FALLBACK=1 in the environment has the CPU "
                "compute that part.",
                device=device.label,
                missing=missing,
            )
        )
    return "internal", (
        Message(
            "Something went wrong in the studio while this picture was made. Try again; if it "
            "happens again, the log has "
            "the cause under the error id."
        )
    )


def _no_number(error: NotFinite) -> str:
    """Whose values are not numbers, and what to do."""
    return {
        "text encoder": (
            Message(
                "The text encoder's answer to the prompt was not a number, so there is no picture. "
                "Lower the weights in "
                "the prompt and those of its LoRAs, or start the studio with --dtype fp32."
            )
        ),
        "model": (
            Message(
                "The model's answer was not a number, so there is no picture. Lower the guidance, "
                "choose another "
                "scheduler, or start the studio with --dtype fp32."
            )
        ),
        "scheduler": (
            Message(
                "The model's answers were finite, but the scheduler left the range of numbers in "
                "{error}, so "
                "there is no picture. Choose another scheduler, noise schedule or number of steps, "
                "or lower the guidance.",
                error=error,
            )
        ),
        "vae": (
            Message(
                "The picture that the VAE decoded was not of numbers, so there is no picture. Choose "
                "another VAE on the "
                "Models tab, lower the guidance, or start the studio with --dtype fp32."
            )
        ),
    }[error.part]


def refusal(error: Exception, device: Device) -> Exception:
    """What whoever asked a question hears of its error; what is not their doing goes to the log with an id."""
    if isinstance(error, (Refused, InvalidRequest)):
        return error
    if isinstance(error, BadCheckpoint):
        return Refused(str(error))
    if device.is_out_of_memory(error):
        error.__traceback__ = None
        device.release()
        return Refused(
            Message("This does not fit into the free memory of this device ({device}) now.", device=device.label)
        )
    error_id = secrets.token_hex(4)
    logger.error("A question failed (error id %s): %s", error_id, error, exc_info=error)
    error.__traceback__ = None
    sentence = Message(
        "This could not be computed; the log has the cause under the error id {error_id}.", error_id=error_id
    )
    return Refused(sentence, kind="internal")
