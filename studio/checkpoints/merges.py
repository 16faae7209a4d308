"""Checkpoints that are to be merged: what is asked for is judged at once, and made one after the other on one thread.

How it is done is `studio.checkpoints.merge`'s. No torch until then.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from studio.answered.engine import Refused
from studio.answered.models import Merge, NoSuchModel
from studio.asked.messages import Message, listed, sentences
from studio.asked.orders import MergeMethod, MergeModels, MergePrecision
from studio.asked.problems import InvalidRequest, Problem, Range, quoted_value
from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.file_names import MOST_CHARACTERS, clean_stem
from studio.checkpoints.hashes import Hasher
from studio.checkpoints.inspect import BadCheckpoint, read_whole_header
from studio.checkpoints.merge import Plan, Source, plan, write
from studio.families.registry import FAMILIES, label_of

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"  # below the models folder
SPARE_BYTES = 256 * 2**20  # of the disk, that stay free
WEIGHTS: Mapping[MergeMethod, Range] = {
    "weighted_sum": Range(low=0, high=1),
    "add_difference": Range(low=-2, high=2),
}
A1111_METHODS: Mapping[MergeMethod, str] = {"weighted_sum": "Weighted sum", "add_difference": "Add difference"}
# What modelspec calls what a model predicts, where its file alone would not say it of the new one.
_SPECS = {"epsilon": "epsilon", "v_prediction": "v", "flow_prediction": "flow"}
_FROM_FIRST = ("modelspec.architecture", "modelspec.implementation", "modelspec.prediction_type",
               "modelspec.predict_key", "modelspec.resolution", "ss_zero_terminal_snr")  # fmt: skip


@dataclass
class _Job:
    """A merge and what it is made of."""

    merge: Merge
    order: MergeModels
    entries: tuple[Entry, ...]
    target: Path
    stop: threading.Event = field(default_factory=threading.Event)


class Merges:
    """What was asked for since the start. Safe for several threads."""

    def __init__(
        self,
        models_dir: Path,
        catalog: Catalog,
        hasher: Hasher,
        *,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """`free_bytes` of the disk, for tests."""
        self._folder = models_dir / FOLDER
        self._models_dir = models_dir
        self._catalog = catalog
        self._hasher = hasher
        self._free_bytes = free_bytes
        self._condition = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._queue: list[_Job] = []
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def add(self, order: MergeModels, entries: Sequence[Entry]) -> str:
        """Make this checkpoint when those before it are made; its merge's id. Raises InvalidRequest, or Refused where
        these cannot be merged, the disk is full, or the name is taken."""
        _check_fields(order)
        _check_models(order, entries, [self._prediction(one) for one in entries])
        recipe = recipe_of(order.method, order.weight, [entry.name for entry in entries])
        name = clean_stem(order.name or recipe)
        if not any(c.isalnum() for c in name) or (order.name and len(order.name) > MOST_CHARACTERS):
            most = Message("a name of 1 to {most} characters, with a letter or a number", most=MOST_CHARACTERS)
            raise InvalidRequest(Problem("name", quoted_value(order.name), most))
        target = self._folder / f"{name}.safetensors"
        if target.exists():
            raise Refused(Message("{target} is there already; it is not overwritten.", target=target.name))
        try:
            self._check_disk(self._plan(order, entries))
        except BadCheckpoint as error:
            raise Refused(str(error)) from error
        job = _Job(
            Merge(id=secrets.token_hex(8), name=name, recipe=recipe, state="waiting"), order, tuple(entries), target
        )
        with self._condition:
            if any(one.target == target and one.merge.state in ("waiting", "running") for one in self._jobs.values()):
                raise Refused(Message("{target} is being made already.", target=target.name))
            self._jobs[job.merge.id] = job
            self._queue.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model-merge", daemon=True)
                self._thread.start()
            self._condition.notify_all()
        return job.merge.id

    def newest_first(self) -> tuple[Merge, ...]:
        """See `studio.answered.models.ModelsNow.merges`."""
        with self._condition:
            return tuple(job.merge for job in reversed(self._jobs.values()))

    def stop(self, merge_id: str) -> None:
        """Stop a merge. Raises NoSuchModel."""
        with self._condition:
            job = self._jobs.get(merge_id)
            if job is None:
                raise NoSuchModel(Message("There is no such merge."))
            job.stop.set()
            if job in self._queue:
                self._queue.remove(job)
                job.merge = replace(job.merge, state="cancelled")

    def close(self) -> None:
        """Stop the one that runs, and begin no other."""
        with self._condition:
            self._is_closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._is_closed:
                    self._condition.wait()
                if self._is_closed:
                    return
                job = self._queue.pop(0)
                job.merge = replace(job.merge, state="running")
            try:
                notes = self._make(job)
            except BadCheckpoint as error:
                if job.stop.is_set():
                    self._tell(job, state="cancelled", fraction=None)
                else:
                    self._tell(job, state="failed", fraction=None, message=str(error))
            except OSError as error:
                logger.exception("A merge could not be written")
                reason = Message("The file could not be written: {value}.", value=error.strerror or error)
                self._tell(job, state="failed", fraction=None, message=reason)
            except Exception:
                logger.exception("A merge failed")
                reason = Message("The merge failed inside the studio; its log has the details.")
                self._tell(job, state="failed", fraction=None, message=reason)
            else:
                self._tell(job, state="done", fraction=1.0, message=sentences(notes))
                self._catalog.entries(refresh=True)

    def _make(self, job: _Job) -> tuple[str, ...]:
        """Count the hashes that are not known yet, and write the file; what is said of it."""
        for entry in job.entries:
            if self._hasher.now(entry) is None:
                raise BadCheckpoint(Message("{name} was changed or removed meanwhile.", name=entry.name))
            if job.stop.is_set():
                raise BadCheckpoint(Message("Stopped. Nothing of it is kept."))
        plan = self._plan(job.order, job.entries)
        self._check_disk(plan)
        self._folder.mkdir(parents=True, exist_ok=True)
        write(
            plan,
            job.target,
            method=job.order.method,
            weight=job.order.weight,
            metadata=self._metadata(job, plan),
            progress=lambda fraction: self._tell(job, fraction=fraction),
            stop=job.stop,
        )
        return plan.notes

    def _plan(self, order: MergeModels, entries: Sequence[Entry]) -> Plan:
        family = FAMILIES[entries[0].facts.family or ""]
        return plan([Source(entry.path, entry.name) for entry in entries], family, order.precision)

    def _check_disk(self, plan: Plan) -> None:
        there = self._folder if self._folder.is_dir() else self._models_dir
        free = self._free_bytes(there)
        if plan.size_bytes + SPARE_BYTES > free:
            raise BadCheckpoint(
                Message(
                    "The disk is too small: the new checkpoint takes {needed} GB, {free} GB are free.",
                    needed=f"{plan.size_bytes / 2**30:.1f}",
                    free=f"{free / 2**30:.1f}",
                )
            )

    def _prediction(self, entry: Entry) -> str | None:
        return self._catalog.correction(entry) or entry.facts.prediction_type

    def _metadata(self, job: _Job, plan: Plan) -> dict[str, str]:
        """What the new file says of itself: modelspec's notes, and the recipe as AUTOMATIC1111 writes it."""
        order, first = job.order, job.entries[0]
        values = {key: plan.metadata[key] for key in _FROM_FIRST if key in plan.metadata}
        prediction = _SPECS.get(self._prediction(first) or "")
        if prediction is not None and (self._catalog.correction(first) or first.facts.prediction_source == "name"):
            values["modelspec.prediction_type"] = prediction
        hashes = [self._hasher.get(entry) or "" for entry in job.entries]
        recipe = {
            "type": "webui",
            "primary_model_hash": hashes[0],
            "secondary_model_hash": hashes[1],
            "tertiary_model_hash": hashes[2] if len(hashes) > 2 else None,
            "interp_method": A1111_METHODS[order.method],
            "multiplier": order.weight,
            "save_as_half": order.precision == "fp16",
            "custom_name": order.name,
            "config_source": 0,
            "bake_in_vae": "None",
            "discard_weights": "",
            "is_inpainting": first.facts.inpainting,
            "is_instruct_pix2pix": False,
        }
        models: dict[str, object] = {}
        for entry, sha256 in zip(job.entries, hashes):
            before = read_whole_header(entry.path).metadata
            models[sha256] = {
                "name": entry.path.name,
                "legacy_hash": None,
                "sd_merge_recipe": _parsed(before.get("sd_merge_recipe")),
            }
            earlier = _parsed(before.get("sd_merge_models"))
            models = {**(earlier if isinstance(earlier, dict) else {}), **models}
        return values | {
            "modelspec.title": job.merge.name,
            "modelspec.description": job.merge.recipe,
            "modelspec.merged_from": ", ".join(entry.name for entry in job.entries),
            "sd_merge_recipe": json.dumps(recipe),
            "sd_merge_models": json.dumps(models),
        }

    def _tell(self, job: _Job, **changes: object) -> None:
        with self._condition:
            job.merge = replace(job.merge, **changes)  # type: ignore[arg-type]


def recipe_of(method: MergeMethod, weight: float, names: Sequence[str]) -> str:
    """A formula of names, as AUTOMATIC1111 names files that are merged."""
    if method == "weighted_sum":
        return f"{round(1 - weight, 4):g}({names[0]}) + {round(weight, 4):g}({names[1]})"
    return f"{names[0]} + {round(weight, 4):g}({names[1]} - {names[2]})"


def _parsed(text: str | None) -> object:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _check_fields(order: MergeModels) -> None:
    problems = []
    for name, value, choices in (
        ("method", order.method, get_args(MergeMethod)),
        ("precision", order.precision, get_args(MergePrecision)),
    ):
        if value not in choices:
            allowed = Message("one of {names}", names=listed(choices))
            problems.append(Problem(name, quoted_value(value), allowed))
    if not isinstance(order.name, str):
        problems.append(Problem("name", quoted_value(order.name), Message("text")))
    if problems:
        raise InvalidRequest(*problems)
    if not WEIGHTS[order.method].holds(order.weight):
        raise InvalidRequest(Problem("weight", quoted_value(order.weight), WEIGHTS[order.method].describe()))


def _check_models(order: MergeModels, entries: Sequence[Entry], predictions: Sequence[str | None]) -> None:
    """Raises InvalidRequest for another number of models, or Refused where they do not go together by what is known."""
    count = 2 if order.method == "weighted_sum" else 3
    if len(entries) != count:
        allowed = Message("{count} checkpoints for this method", count=count)
        raise InvalidRequest(Problem("models", str(len(entries)), allowed))
    if len({entry.id for entry in entries}) != count:
        raise InvalidRequest(
            Problem("models", quoted_value(entries[0].name), Message("{count} different checkpoints", count=count))
        )
    for entry in entries:
        if entry.facts.convertible:
            raise Refused(Message("{name} is a pickle: convert it safely first.", name=entry.name))
        if entry.facts.kind != "checkpoint" or entry.facts.state != "usable" or entry.facts.family not in FAMILIES:
            raise Refused(Message("{name} is no checkpoint that can be used.", name=entry.name))
        if entry.file.is_folder:
            raise Refused(
                Message("{name} is a diffusers folder; only single .safetensors files can be merged.", name=entry.name)
            )
    first = entries[0]
    for entry in entries[1:]:
        if entry.facts.family != first.facts.family:
            raise Refused(
                Message(
                    "{first} is {family}, {name} is {other}: only checkpoints of one family can be merged.",
                    first=first.name,
                    family=label_of(first.facts.family),
                    name=entry.name,
                    other=label_of(entry.facts.family),
                )
            )
    # Of a difference both ends must predict the same; what it is added to may predict something else (CosXL's recipe).
    one, other = (0, 1) if order.method == "weighted_sum" else (1, 2)
    if None not in (predictions[one], predictions[other]) and predictions[one] != predictions[other]:
        raise Refused(
            Message(
                "{first} and {name} predict different things ({prediction} and {other}), so they cannot be mixed.",
                first=entries[one].name,
                name=entries[other].name,
                prediction=predictions[one],
                other=predictions[other],
            )
        )
