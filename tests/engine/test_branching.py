"""Branches of recorded runs: nothing changed is the same picture, a change begins where it is asked for; the tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from studio.answered.engine import UnknownJob
from studio.answered.events import Finished
from studio.asked.branch import Branch
from studio.asked.fields import ImageToImage
from studio.asked.problems import InvalidRequest
from studio.asked.requests import Request
from studio.asked.resolved import Suits, resolve
from studio.engine.engine import DiffusionEngine
from tests.engine.conftest import ask, outcome, pixels
from tests.engine.test_answers import png
from tests.engine.test_recorder import header

OWNER = "branch"


def made(engine: DiffusionEngine, request: Request, attention: bool = False) -> str:
    job = engine.submit(request, owner=OWNER, attention=attention)
    assert isinstance(outcome(engine, job, OWNER), Finished)
    return job


def branched(engine: DiffusionEngine, job: str, evaluation: int, image: int = 0, **changed: Any) -> str:
    child = engine.branch(job, Branch(evaluation=evaluation, **changed), owner=OWNER, image=image)
    assert isinstance(outcome(engine, child, OWNER), Finished)
    return child


def recording(engine: DiffusionEngine, job: str, image: int = 0) -> dict[str, Any]:
    return dict(load(engine.record(job, owner=OWNER, image=image)))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "dpmpp_sde", "euler_a"])
def test_a_branch_with_no_change_is_the_run_to_the_last_bit(engine: DiffusionEngine, scheduler: str) -> None:
    request = ask(scheduler=scheduler, exact=True, num_images_per_prompt=2, negative_prompt="cat")
    job = made(engine, request)
    parent = recording(engine, job, 1)
    picture = pixels(engine, outcome(engine, job, OWNER), 1, OWNER)
    for evaluation in (0, 2):
        child = branched(engine, job, evaluation, image=1)
        assert same(recording(engine, child), parent)
        assert (pixels(engine, outcome(engine, child, OWNER), 0, OWNER) == picture).all()
        facts = header(engine.record(child, owner=OWNER))
        assert facts["branch"] == {"job_id": job, "image": 1, "evaluation": evaluation, "changed": {}}
        assert facts["seed"] == 6


def test_a_branch_at_the_beginning_is_a_fresh_run(engine: DiffusionEngine) -> None:
    job = made(engine, ask(exact=True))
    child = branched(engine, job, 0, prompt="blue sea", guidance_scale=3.0, noise_seed=77)
    fresh = made(engine, ask(exact=True, prompt="blue sea", guidance_scale=3.0, seed=77))
    assert same(recording(engine, child), recording(engine, fresh))


def test_a_change_begins_where_it_was_asked_for(engine: DiffusionEngine) -> None:
    job = made(engine, ask(num_inference_steps=6), attention=True)
    parent = recording(engine, job)
    child = branched(engine, job, 3, prompt="blue sea", guidance_scale=1.5)
    changed = recording(engine, child)
    for name in ("x_t", "model_cond"):
        assert (changed[name][:3] == parent[name][:3]).all()
    assert (changed["x_t"][3] == parent["x_t"][3]).all(), "the same latents, asked about with another prompt"
    assert not (changed["model_cond"][3] == parent["model_cond"][3]).all()
    assert not (changed["latents"] == parent["latents"]).all()
    scales = [e["guidance_scale"] for e in header(engine.record(child, owner=OWNER))["evaluations"]]
    assert scales == [7.0] * 3 + [1.5] * 3
    assert "attention.down.4x4" in changed


def test_other_noise_keeps_what_the_model_saw_and_a_branch_of_it_knows(engine: DiffusionEngine) -> None:
    job = made(engine, ask(num_inference_steps=6, scheduler="euler_a", exact=True))
    parent = recording(engine, job)
    child = branched(engine, job, 2, noise_seed=9)
    other = recording(engine, child)
    facts = header(engine.record(job, owner=OWNER))["evaluations"][2]
    difference = parent["model_difference"][2].astype(float)
    output = parent["model_cond"][2] + (facts["guidance_scale"] - 1) * difference
    x0 = (parent["x_t"][2] - facts["s"] * output) / facts["a"]
    import torch

    noise = torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(9)).numpy()
    assert np.abs(other["x_t"][2] - facts["a"] * x0 - facts["s"] * noise).max() < 0.02
    for evaluation in (2, 4):
        assert same(recording(engine, branched(engine, child, evaluation)), other)


def test_painted_latents_are_what_the_unet_is_given_and_a_branch_of_it_knows(engine: DiffusionEngine) -> None:
    job = made(engine, ask(num_inference_steps=6, scheduler="euler", exact=True))
    parent = recording(engine, job)
    poke = np.zeros((4, 8, 8), "<f4")
    poke[1, 2:4, 5] = 1.5
    child = branched(engine, job, 2, poke=poke.tobytes())
    other = recording(engine, child)
    assert np.abs(other["x_t"][2].astype(float) - parent["x_t"][2] - poke).max() < 2e-3
    assert not (other["model_cond"][2] == parent["model_cond"][2]).all()
    for evaluation in (2, 4):
        assert same(recording(engine, branched(engine, child, evaluation)), other)
    assert header(engine.record(child, owner=OWNER))["branch"]["changed"] == {"poke": 2}
    with pytest.raises(InvalidRequest, match="256 float32 numbers, 4 × 8 × 8"):
        engine.branch(job, Branch(evaluation=1, poke=poke[0].tobytes()), owner=OWNER)
    for bad in (b"abc", np.full(256, np.nan, "<f4").tobytes(), np.full(256, 30, "<f4").tobytes()):
        with pytest.raises(InvalidRequest, match="poke"):
            Branch.parse({"evaluation": "1"}, bad)
    assert Branch.parse({"evaluation": "1"}, poke.tobytes()).poke == poke.tobytes()


@pytest.mark.parametrize(("scheduler", "noise_schedule"), [("euler", None), ("dpmpp_sde", None), (None, "karras")])
def test_another_scheduler_goes_on_and_a_branch_of_it_knows(
    engine: DiffusionEngine, scheduler: Any, noise_schedule: Any
) -> None:
    job = made(engine, ask(num_inference_steps=6, scheduler="euler_a", negative_prompt="cat", exact=True))
    parent, run = recording(engine, job), header(engine.record(job, owner=OWNER))
    child = branched(engine, job, 2, scheduler=scheduler, noise_schedule=noise_schedule)
    other, facts = recording(engine, child), header(engine.record(child, owner=OWNER))
    for name in ("x_t", "model_cond", "model_difference"):
        assert np.abs(other[name][:3].astype(float) - parent[name][:3]).max() < 2e-3, "the same x_t is asked about"
    assert not (other["latents"] == parent["latents"]).all()
    assert facts["total"] == len(facts["evaluations"]) == (9 if scheduler == "dpmpp_sde" else 6)
    name = scheduler or "euler_a"
    assert facts["scheduler"] == name
    assert [(one["evaluation"], one["scheduler"], one["noise_schedule"]) for one in facts["schedulers"]] == [
        (0, "euler_a", "normal"),
        (2, name, noise_schedule),
    ]
    changed = {k: v for k, v in (("scheduler", scheduler), ("noise_schedule", noise_schedule)) if v}
    assert facts["branch"]["changed"] == changed
    assert [e["sigma"] for e in facts["evaluations"][:3]] == pytest.approx(
        [e["sigma"] for e in run["evaluations"][:3]], rel=1e-5
    )
    # The step before is still the first scheduler's, in its scale; the new one begins without a history.
    before = [one["evaluations"][1]["step_equation"] for one in (run, facts)]
    assert before[1]["x_t"] == pytest.approx(before[0]["x_t"], abs=1e-3)
    assert before[1]["fresh_noise"] == pytest.approx(before[0]["fresh_noise"], rel=1e-2)
    assert facts["evaluations"][2]["step_equation"]["x0_prev"] is None
    if scheduler == "euler":
        assert all(e["step_equation"]["fresh_noise"] is None for e in facts["evaluations"][2:])
    for evaluation in (2, 4):
        assert same(recording(engine, branched(engine, child, evaluation)), other)
    # Before it took over, the run that it came from is in force.
    early = branched(engine, child, 1)
    assert header(engine.record(early, owner=OWNER))["scheduler"] == "euler_a"
    assert same(recording(engine, early), parent)


def test_one_scheduler_after_another_and_back(engine: DiffusionEngine) -> None:
    job = made(engine, ask(num_inference_steps=6, scheduler="dpmpp_2m", exact=True))
    second = branched(engine, job, 1, scheduler="heun")
    third = branched(engine, second, 4, scheduler="ddim", noise_seed=3)
    facts = header(engine.record(third, owner=OWNER))
    assert [one["evaluation"] for one in facts["schedulers"]] == [0, 1, 4]
    assert facts["evaluations"][4]["timestep"] == int(facts["evaluations"][4]["timestep"])
    for evaluation in (4, 5):
        assert same(recording(engine, branched(engine, third, evaluation)), recording(engine, third))
    again = branched(engine, third, 4, scheduler="ddim")
    assert header(engine.record(again, owner=OWNER))["scheduler"] == "ddim"


def test_what_no_scheduler_can_do_is_refused(engine: DiffusionEngine) -> None:
    job = made(engine, ask())
    with pytest.raises(InvalidRequest, match=r"noise_schedule: Karras is not allowed\. Allowed: with DDIM one of"):
        engine.branch(job, Branch(evaluation=1, scheduler="ddim", noise_schedule="karras"), owner=OWNER)
    for given, field in (
        ({"scheduler": "rk4"}, "scheduler"),
        ({"noise_schedule": "as_configured"}, "noise_schedule"),
        ({"noise_schedule": "automatic"}, "noise_schedule"),
    ):
        with pytest.raises(InvalidRequest, match=f"^{field}: '"):
            Branch.parse({"evaluation": "1", **given})
    parsed = Branch.parse({"evaluation": "1", "scheduler": "heun", "noise_schedule": "karras"})
    assert parsed.changes == {"scheduler": "heun", "noise_schedule": "karras"}
    from studio.engine.forks import ImageRecipe, fork
    from tests.engine.test_recorder import evaluation

    samples = [evaluation(k, prediction_type="sample") for k in range(3)]
    with pytest.raises(InvalidRequest, match=r"scheduler: Euler is not allowed\. Allowed: for a checkpoint"):
        fork("a", 0, Branch(evaluation=1, scheduler="euler"), ImageRecipe(resolve(ask(), Suits())), samples)


def test_a_run_from_a_picture_is_rewound_after_its_end(engine: DiffusionEngine) -> None:
    request = ImageToImage(
        prompt="a red fox", checkpoint="tiny", seed=5, image=png(), strength=0.7, num_inference_steps=6, exact=True
    )
    job = made(engine, request)
    assert same(recording(engine, branched(engine, job, 2)), recording(engine, job))
    # The viewer's drawing begins where the run did.
    assert header(engine.record(job, owner=OWNER))["kind"] == "image_to_image"


def test_guidance_can_be_taken_away_and_come_back(engine: DiffusionEngine) -> None:
    job = made(engine, ask(exact=True))
    without = branched(engine, job, 2, guidance_scale=1.0)
    scales = [e["guidance_scale"] for e in header(engine.record(without, owner=OWNER))["evaluations"]]
    assert scales == [7.0, 7.0, 1.0, 1.0]
    data = recording(engine, without)
    assert data["model_difference"].shape == data["model_cond"].shape
    assert not data["model_difference"][2:].any()
    again = branched(engine, without, 2, guidance_scale=7.0)
    assert same(recording(engine, again), recording(engine, job))


def test_the_tree_lists_runs_and_what_they_changed(engine: DiffusionEngine) -> None:
    job = made(engine, ask())
    first = branched(engine, job, 1, prompt="snow")
    second = branched(engine, first, 2, guidance_scale=9.0)
    made(engine, ask())
    nodes = engine.branches(second, owner=OWNER)
    assert [n.job_id for n in nodes] == [job, first, second]
    assert [n.parent for n in nodes] == [None, job, first]
    assert [n.changed for n in nodes] == [None, {"prompt": "snow"}, {"guidance_scale": 9.0}]
    assert [(n.evaluation, n.prompt, n.state) for n in nodes[1:]] == [(1, "snow", "finished"), (2, "snow", "finished")]
    assert engine.branches(job, owner=OWNER) == nodes


def test_what_cannot_be_branched_is_refused(engine: DiffusionEngine) -> None:
    job = made(engine, ask())
    with pytest.raises(InvalidRequest, match="from 0 to 3"):
        engine.branch(job, Branch(evaluation=4), owner=OWNER)
    for owner, image in (("ben", 0), (OWNER, 1)):
        with pytest.raises(UnknownJob):
            engine.branch(job, Branch(evaluation=0), owner=owner, image=image)
    with pytest.raises(UnknownJob):
        engine.branches(job, owner="ben")
    for given in (
        {},
        {"evaluation": "x"},
        {"evaluation": "1", "guidance_scale": "-0.5"},
        {"evaluation": "1", "x": "y"},
    ):
        with pytest.raises(InvalidRequest):
            Branch.parse(given)
    assert Branch.parse({"evaluation": "2", "prompt": "a\0b", "guidance_scale": "3"}) == Branch(
        evaluation=2, prompt="ab", guidance_scale=3.0
    )
