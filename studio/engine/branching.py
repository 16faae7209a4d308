"""From a recorded run to a job that goes on from one of its evaluations. docs/viewer.md has it in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from studio.branch import Branch, BranchNode
from studio.framing import Start
from studio.requests import InvalidRequest, Problem, Request

if TYPE_CHECKING:
    from studio.diffusion.lane import Lane
    from studio.engine.recorder import Recorded


@dataclass(frozen=True)
class Source:
    """All that one recorded image was made from, besides the checkpoint. `request` is for that image alone, with size
    and seeds resolved; `renoised` are the seeds of replaced noise by evaluation, `poked` the evaluations whose latents
    were painted on."""

    request: Request
    start: Start | None = None
    attention: bool = False
    renoised: Mapping[int, int] = field(default_factory=dict)
    poked: frozenset[int] = frozenset()

    @property
    def size_bytes(self) -> int:
        """The pictures that it began with, as files and decoded."""
        return self.request.file_bytes + (self.start.size_bytes if self.start is not None else 0)


@dataclass(frozen=True)
class Fork:
    """Where a job leaves the run it comes from: `past` are the evaluations that it shares, `left` the first one that it
    makes anew, as it was."""

    parent: str  # job id
    image: int
    branch: Branch
    source: Source
    past: Sequence[Recorded]
    left: Recorded

    @property
    def renoised(self) -> dict[int, int]:
        """The seeds of replaced noise of the new run, by evaluation."""
        found = {k: seed for k, seed in self.source.renoised.items() if k <= self.branch.evaluation}
        if self.branch.noise_seed is not None and self.branch.evaluation > 0:
            found[self.branch.evaluation] = self.branch.noise_seed
        return found

    @property
    def poked(self) -> frozenset[int]:
        """The evaluations of the new run whose latents were painted on."""
        here = self.branch.evaluation
        own = {here} if self.branch.poke is not None else set()
        return frozenset({k for k in self.source.poked if k <= here} | own)

    def node(self) -> BranchNode:
        """Its place in the tree; job id and state are for the job to say."""
        branch = self.branch
        return BranchNode(
            job_id="",
            state="",
            prompt=self.source.request.prompt,
            guidance_scale=self.source.request.guidance_scale,
            parent=self.parent,
            image=self.image,
            evaluation=branch.evaluation,
            changed=branch.changed,
        )

    def request(self) -> Request:
        """The branch as a request of one image, in calls of its own. Raises InvalidRequest."""
        changed = {k: v for k, v in self.branch.changed.items() if k not in ("noise_seed", "poke")}
        if self.branch.noise_seed is not None and self.branch.evaluation == 0:
            changed["seed"] = self.branch.noise_seed
        return replace(self.source.request, exact=True, **changed)  # type: ignore[arg-type]


def fork(parent: str, image: int, branch: Branch, source: Source, evaluations: Sequence[Recorded]) -> Fork:
    """A fork of a recorded run. Raises InvalidRequest for an evaluation that it has not (yet), or a poke of another
    shape than its latents."""
    if branch.evaluation >= len(evaluations):
        allowed = f"whole numbers from 0 to {len(evaluations) - 1}"
        raise InvalidRequest(Problem("evaluation", str(branch.evaluation), allowed))
    shape = evaluations[branch.evaluation].latents.shape
    if branch.poke is not None and len(branch.poke) != 4 * math.prod(shape):
        allowed = f"{math.prod(shape)} float32 numbers, {' × '.join(map(str, shape))}"
        raise InvalidRequest(Problem("poke", f"{len(branch.poke):,} bytes", allowed))
    past = tuple(evaluations[: branch.evaluation])
    return Fork(parent, image, branch, source, past, evaluations[branch.evaluation])


def leave(lane: Lane, fork: Fork) -> None:
    """Bring a new lane to the fork, and change its noise where that is asked for."""
    import torch

    from studio.diffusion.rewind import Answered, renoise, rewind
    from studio.engine.measures import denoised

    past = [Answered(torch.tensor(e.latents), torch.tensor(e.outputs), e.guidance_scale) for e in fork.past]
    inherited = dict(fork.source.renoised)
    rewind(lane, past, inherited, fork.source.poked)
    here, seed = fork.branch.evaluation, fork.branch.noise_seed
    if seed is not None and here > 0:
        x0 = denoised(fork.left)
        renoise(lane, seed, torch.tensor(x0) if x0 is not None else torch.zeros_like(lane.latents[0]))
    elif here in inherited:  # the parent's own noise began here
        lane.take_noise(inherited[here], torch.tensor(fork.left.latents)[None].to(lane.latents.device))
    elif here in fork.source.poked:
        lane.latents = torch.tensor(fork.left.latents)[None].to(lane.latents.device)
    if fork.branch.poke is not None:
        poke = np.frombuffer(fork.branch.poke, "<f4").astype(np.float32).reshape(fork.left.latents.shape)
        lane.latents = lane.latents + fork.left.scale * torch.from_numpy(poke)[None].to(lane.latents.device)
