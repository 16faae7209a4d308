"""What is asked of an engine as a whole: jobs to take, orders about its models, and short questions about both.

Plain data, like everything that crosses to an engine: `studio.answered.codec` turns it into bytes and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.emphasis import EmphasisName
from studio.asked.guest_rules import NO_RULES, Rules
from studio.asked.requests import Request

ModelKind = Literal[
    "checkpoint", "vae", "lora", "embedding", "preview_decoder", "controlnet", "safety_checker", "upscaler"
]
MergeMethod = Literal["weighted_sum", "add_difference"]
MergePrecision = Literal["first", "fp32", "fp16", "bf16"]
PredictionName = Literal["epsilon", "v_prediction", "sample", "flow_prediction", "edm_epsilon", "edm_v_prediction"]

# --------------------------------------------------------------------------------------------------- jobs to take


@dataclass(frozen=True, kw_only=True)
class Quota:
    """What may wait or run at once, summed over jobs: their number, images, steps of all images, pixels of all images;
    and seconds of device within an hour. None: no limit."""

    jobs: int | None = None
    images: int | None = None
    steps: int | None = None
    pixels: int | None = None
    device_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a job's visitor may have: alone, together with everybody of their `group`, and together with everybody on
    this machine who has an allowance. `rules`: what they may use."""

    group: str
    visitor: Quota = Quota()
    together: Quota = Quota()
    machine: Quota = Quota()
    ends_with_studio: bool = False  # nobody of the group comes back after the studio has ended
    rules: Rules = NO_RULES


@dataclass(frozen=True, kw_only=True)
class SubmitRun:
    """Make the pictures of a request. `attention`: record where the U-Net looks, in calls of the job's own.

    `ephemeral`: it belongs to one call of a program, which learns no job id and cannot come back to it. Nothing is
    recorded of it, and it is forgotten soon after its end. `live`: it follows somebody's typing or sliders; its
    pictures are saved when they keep them or pause (`studio.picture.live_pictures`).
    """

    request: Request
    attention: bool = False
    ephemeral: bool = False
    live: bool = False
    allowance: Allowance | None = None


@dataclass(frozen=True, kw_only=True)
class SubmitComparison:
    """Make a comparison as one job. Its cells are made side by side, the one at `focus` first. `ephemeral` as in
    `SubmitRun`."""

    comparison: Comparison
    focus: int = 0
    ephemeral: bool = False
    allowance: Allowance | None = None


@dataclass(frozen=True, kw_only=True)
class SubmitBranch:
    """Go on from an evaluation of a recorded run, `image` of the job `job_id`, with something changed.

    With nothing changed the picture is the same to the last bit when the run had `exact` or `attention`.
    """

    job_id: str
    branch: Branch
    image: int = 0
    allowance: Allowance | None = None


@dataclass(frozen=True, kw_only=True)
class RunAgain:
    """Run the interrupted job `job_id` again, with the seed that it had; what it began with was kept for that. Unknown
    where it is no interrupted job, or a branch, whose recorded run is gone."""

    job_id: str
    allowance: Allowance | None = None


Submission = SubmitRun | SubmitComparison | SubmitBranch | RunAgain

# --------------------------------------------------------------------------------------------- orders about models


@dataclass(frozen=True, kw_only=True)
class PrepareCheckpoint:
    """Load this checkpoint when nothing else is to be done, so that the first picture with it need not wait.

    Only a hint: the last one counts, jobs go first, and a name that is unknown or loaded already changes nothing.
    """

    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class LoadModel:
    """Bring a checkpoint to the device as soon as no lane runs."""

    model_id: str


@dataclass(frozen=True, kw_only=True)
class UnloadModel:
    """Let a loaded model go from device and RAM as soon as no lane needs it."""

    model_id: str


@dataclass(frozen=True, kw_only=True)
class Annotate:
    """Remember a note of at most 2,000 characters."""

    model_id: str
    note: str


@dataclass(frozen=True, kw_only=True)
class CorrectPrediction:
    """Remember another prediction type than the file says, from the next load on; None forgets it. `shift` is that of a
    rectified flow's times, above 0 to 100; None: as the file says, 1 where it does not."""

    model_id: str
    prediction_type: PredictionName | None
    shift: float | None = None


@dataclass(frozen=True, kw_only=True)
class ChooseVae:
    """Let a checkpoint run with the VAE of another model from its next load on; None: with its own again.

    A loaded checkpoint is loaded anew. The choice is remembered.
    """

    model_id: str
    source_id: str | None


@dataclass(frozen=True, kw_only=True)
class ConvertModel:
    """Write a safetensors file beside a pickle, in the background, in a process that runs nothing of it."""

    model_id: str


@dataclass(frozen=True, kw_only=True)
class MergeModels:
    """Write a new checkpoint into the models folder, in the background: the weighted sum of two, a (1 - w) + b w, or
    one with the difference of two others added, a + (b - c) w. `name` "" takes one that says the recipe; `precision`
    "first" is the first one's."""

    model_ids: tuple[str, ...]
    method: MergeMethod = "weighted_sum"
    weight: float = 0.5
    precision: MergePrecision = "first"
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class StopMerge:
    """Stop a merge. Nothing of it is kept."""

    merge_id: str


@dataclass(frozen=True, kw_only=True)
class DownloadFiles:
    """Fetch files of a repository of the hub into the models folder."""

    repository: str
    files: tuple[str, ...]
    kind: ModelKind = "checkpoint"
    revision: str = "main"
    token: str | None = None


@dataclass(frozen=True, kw_only=True)
class AddByLink:
    """Fetch one safetensors file into the models folder: of an https address, or of a model's page on Civitai.
    `sha256`: what the file must have, 64 hexadecimal digits; "" for what the server says, if anything."""

    link: str
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class CancelDownload:
    """Stop a download. What has come is kept for resuming and never listed."""

    download_id: str


ModelOrder = (
    PrepareCheckpoint
    | LoadModel
    | UnloadModel
    | Annotate
    | CorrectPrediction
    | ChooseVae
    | ConvertModel
    | MergeModels
    | StopMerge
    | DownloadFiles
    | AddByLink
    | CancelDownload
)

# ------------------------------------------------------------------------------------------------ short questions


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """How does this checkpoint's tokenizer see a prompt, or a negative prompt? Answered by `TokensAnswer`.

    `models`: ids of the embeddings that may be named; None: all. `wildcards`: whether it may ask for lines of the
    wildcard files. `emphasis`: as in a request."""

    checkpoint: str
    text: str
    negative: bool = False
    models: tuple[str, ...] | None = None
    wildcards: bool = True
    emphasis: EmphasisName = "original"


@dataclass(frozen=True, kw_only=True)
class WildcardNames:
    """Which wildcard files may a prompt name? Answered by their names in alphabetical order. `allowed`: whether this
    visitor may use them; without that there are none."""

    allowed: bool = True


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast is this checkpoint at this size, else at another? Answered by `Pace`, or None before any run."""

    checkpoint: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cells:
    """How does a comparison stand? Answered by `ComparisonNow`."""

    job_id: str


@dataclass(frozen=True, kw_only=True)
class BranchTree:
    """To which tree of branches does a job belong? Answered by its `BranchNode`s, the root first."""

    job_id: str


@dataclass(frozen=True, kw_only=True)
class RecordPart:
    """Which evaluations of a recorded run: `since`.. (before `until`) of one image; `image` of a comparison is the
    cell. `lean` takes eight bits a number where the whole run is large."""

    image: int = 0
    since: int = 0
    until: int | None = None
    lean: bool = False


WHOLE_RECORD = RecordPart()


@dataclass(frozen=True, kw_only=True)
class Work:
    """What waits and runs here, whoever's it is, and who had the device? Answered by `WorkNow`; for the owner's board,
    so `studio.web` lets nobody else ask."""


@dataclass(frozen=True, kw_only=True)
class ModelList:
    """What models are on the engine's machine? Answered by `ModelsNow`. `refresh` looks through the folders now."""

    refresh: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelPicture:
    """The preview that came with a model: a JPEG of at most 512 pixels a side, or None."""

    model_id: str


@dataclass(frozen=True, kw_only=True)
class RepositoryFiles:
    """What lies in a repository of the hub? Answered by `HubFile`s; waits for the hub."""

    repository: str
    revision: str = "main"
    token: str | None = None
