"""The noise viewer's questions on a tiny model: schedules, forward process, losses, the VAE, and refusals."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load

from studio.answered.engine import Answer, Refused
from studio.answered.events import Finished
from studio.asked.fields import ImageToImage, Inpaint
from studio.asked.problems import InvalidRequest
from studio.asked.question import Question
from studio.asked.questions import parse
from studio.asked.schedulers import SCHEDULERS
from studio.engine.engine import DiffusionEngine
from studio.engine.viewer.inquiries import WAITING_OF_ONE, Inquiries, Inquiry, Slices
from tests.engine.conftest import Calls, ask, events_of, finish, pixels
from tests.engine.test_recorder import header


def png(width: int = 64, height: int = 64) -> bytes:
    rows = np.linspace(0, 255, height)[:, None, None] * np.ones((1, width, 3))
    rows[:, : width // 2, 0] = 200
    encoded = io.BytesIO()
    Image.fromarray(rows.astype(np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def inquire(engine: DiffusionEngine, name: str, image: bytes = b"", owner: str = "anna", **given: Any) -> Answer:
    question = parse(name, {"checkpoint": "tiny"} | {k: str(v) for k, v in given.items()}, image)
    return asyncio.run(asyncio.wait_for(engine.inquire(question, owner=owner), 120))


@pytest.fixture(scope="module")
def loaded(engine: DiffusionEngine) -> DiffusionEngine:
    finish(engine, ask(num_inference_steps=1))
    return engine


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_schedule_is_known_before_it_runs(loaded: DiffusionEngine, scheduler: str) -> None:
    answer = json.loads(inquire(loaded, "schedule", scheduler=scheduler, num_inference_steps=5).content)
    job = loaded.submit(ask(scheduler=scheduler, num_inference_steps=5), owner="anna")
    asyncio.run(events_of(loaded, job))
    run = header(loaded.record(job, owner="anna"))
    assert (answer["total"], answer["noise_schedule"]) == (run["total"], run["noise_schedule"])
    assert len(answer["evaluations"]) == len(run["evaluations"])
    for told, made in zip(answer["evaluations"], run["evaluations"]):
        for name in ("index", "step", "stage", "timestep", "sigma", "a", "s", "log_snr"):
            assert told[name] == pytest.approx(made[name]), name
        assert told["abar"] == pytest.approx(1 / (1 + told["sigma"] ** 2))
        assert told["log_snr"] == pytest.approx(-2 * np.log(told["sigma"]))
    assert {name: len(values) for name, values in answer["training"].items()} == {
        "a": 1000,
        "s": 1000,
        "timesteps": 1000,
    }
    positions = [e["position"] for e in answer["evaluations"]]
    assert positions == pytest.approx([e["timestep"] for e in answer["evaluations"]], abs=1.1), "within its rounding"


def test_the_forward_process_has_all_that_noising_needs(loaded: DiffusionEngine) -> None:
    answer = inquire(loaded, "forward", png(128, 128), seed=3)
    tensors, facts = load(answer.content), header(answer.content)
    assert tensors["z0"].shape == tensors["noise"].shape == (4, 8, 8)
    assert tensors["pixels"].shape == (64, 64, 3), "at the size the model is at home with"
    assert all(tensors[f"training_{name}"].shape == (1000,) for name in ("a", "s", "timesteps"))
    assert tensors["preview.weight"].shape == (192, 4, 3, 3)
    assert (facts["width"], facts["height"], facts["prediction_type"]) == (64, 64, "epsilon")
    again = load(inquire(loaded, "forward", png(128, 128), seed=3).content)
    assert all((tensors[name] == again[name]).all() for name in tensors)
    other = load(inquire(loaded, "forward", png(128, 128), seed=4).content)
    assert (other["z0"] == tensors["z0"]).all()
    assert not (other["noise"] == tensors["noise"]).all()


def test_the_loss_is_that_of_the_map(loaded: DiffusionEngine) -> None:
    image = png()
    curve = json.loads(
        inquire(loaded, "losses", image, caption="a red fox", wrong_caption="snow " * 100, points=4).content
    )
    assert curve["timesteps"] == [250, 500, 749, 999]
    assert {name: len(values) for name, values in curve["losses"].items()} == {"right": 4, "empty": 4, "wrong": 4}
    answer = inquire(loaded, "error", image, caption="a red fox", timestep=500)
    tensors, facts = load(answer.content), header(answer.content)
    assert facts["loss"] == pytest.approx(curve["losses"]["right"][1], rel=1e-4)
    assert facts["loss"] == pytest.approx(float((tensors["error"] ** 2).mean()), rel=1e-5)
    forward = load(inquire(loaded, "forward", image).content)
    z_t = facts["a"] * forward["z0"] + facts["s"] * forward["noise"]
    assert np.abs(z_t - tensors["z_t"]).max() < 1e-5
    assert np.abs(tensors["noise"] - tensors["noise_pred"] - tensors["error"]).max() < 1e-5
    assert curve["losses"]["right"] != curve["losses"]["empty"] != curve["losses"]["wrong"]


def test_a_picture_goes_through_the_vae_and_back(loaded: DiffusionEngine) -> None:
    answer = inquire(loaded, "vae", png(96, 64))
    tensors, facts = load(answer.content), header(answer.content)
    assert (facts["width"], facts["height"]) == (64, 64) or facts["width"] > facts["height"]
    for name in ("pixels", "reconstruction", "reconstruction_of_sample"):
        assert tensors[name].shape == (facts["height"], facts["width"], 3)
        assert tensors[name].dtype == np.uint8
    assert tensors["mean"].shape == tensors["std"].shape == (4, facts["height"] // 8, facts["width"] // 8)
    assert (tensors["std"] > 0).all()
    assert facts["ratio"] == 48
    error = np.mean((tensors["pixels"].astype(float) - tensors["reconstruction"]) ** 2)
    assert facts["psnr"] == pytest.approx(10 * np.log10(255**2 / error))
    assert facts["channels"][2]["mean"] == pytest.approx(float(tensors["mean"][2].mean()), abs=1e-5)
    assert not (tensors["reconstruction"] == tensors["reconstruction_of_sample"]).all()


def test_a_figure_of_few_steps_is_the_picture_of_the_run_with_these_fields(loaded: DiffusionEngine) -> None:
    fields: dict[str, Any] = {"prompt": "a red fox AND snow :0.5", "guidance_scale": 3.5, "seed": 11}
    made = finish(loaded, ask(num_inference_steps=2, scheduler="euler_a", exact=True, **fields))
    answer = inquire(loaded, "few-steps", steps=2, scheduler="euler_a", **fields)
    assert answer.media_type == "image/png"
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == pixels(loaded, made)).all()
    from_picture = ImageToImage(
        checkpoint="tiny", num_inference_steps=4, exact=True, image=png(), strength=0.5, preview="fast", **fields
    )
    made = finish(loaded, from_picture)
    answer = inquire(loaded, "few-steps-from-picture", png(), steps=4, strength=0.5, **fields)
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == pixels(loaded, made)).all()
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (16, 16, 48, 48))
    encoded = io.BytesIO()
    mask.save(encoded, "PNG")
    under_mask = Inpaint(
        checkpoint="tiny", num_inference_steps=3, exact=True, image=png(), mask=encoded.getvalue(), **fields
    )
    made = finish(loaded, under_mask)
    answer = inquire(loaded, "few-steps-under-mask", png(), steps=3, part="middle", **fields)
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == pixels(loaded, made)).all()
    with pytest.raises(InvalidRequest, match="part"):
        inquire(loaded, "few-steps-under-mask", png(), part="corner")
    with pytest.raises(Refused, match="LoRA"):
        inquire(loaded, "few-steps", prompt="a fox <lora:line:1>")
    with pytest.raises(InvalidRequest, match="steps"):
        inquire(loaded, "few-steps", steps=9)


def test_a_call_costs_what_its_layers_compute_on_latents_and_on_pixels(loaded: DiffusionEngine) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from tests.tiny import tiny_components

    cost = json.loads(inquire(loaded, "cost").content)
    assert (cost["latents"]["shape"], cost["pixels"]["shape"]) == ([4, 8, 8], [3, 64, 64])
    components = tiny_components()
    # torch counts no fused attention on a CPU
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        components.unet(torch.randn(1, 4, 8, 8), 5, torch.randn(1, 77, components.unet.config.cross_attention_dim))
    assert cost["latents"]["operations"] == counter.get_total_flops()
    assert cost["pixels"]["operations"] > 50 * cost["latents"]["operations"]


def test_the_architecture_is_that_of_the_loaded_model(loaded: DiffusionEngine) -> None:
    from tests.tiny import tiny_components

    answer = json.loads(inquire(loaded, "architecture").content)
    components = tiny_components()
    expected = {
        "unet": components.unet,
        "text_encoder": components.part("text_encoder"),
        "encoder": components.vae.encoder,
        "decoder": components.vae.decoder,
    }
    assert answer["parts"].keys() == expected.keys()
    for name, module in expected.items():
        assert answer["parts"][name]["parameters"] == sum(p.numel() for p in module.parameters())
        assert answer["parts"][name]["milliseconds"] > 0
    assert answer["shapes"] == {"picture": [3, 64, 64], "latents": [4, 8, 8], "context": [77, 8]}
    blocks = {b["name"]: b for b in answer["blocks"]}
    assert [b["place"] for b in answer["blocks"] if b["part"] == "unet"] == [
        "time", "in", "down", "down", "mid", "up", "up", "out",
    ]  # fmt: skip
    down = blocks["unet.down_blocks.1"]
    assert (down["kind"], down["input"], down["output"]) == ("CrossAttnDownBlock2D", [4, 4, 4], [8, 4, 4])
    assert (down["resnets"], down["self_attentions"], down["cross_attentions"]) == (1, 1, 1)
    assert blocks["unet.conv_out"]["output"] == [4, 8, 8]
    assert blocks["decoder.conv_out"]["output"] == [3, 64, 64]
    assert blocks["encoder.quant_conv"]["output"] == [8, 8, 8]
    assert all(b["milliseconds"] is not None and b["parameters"] > 0 for b in answer["blocks"])
    again = finish(loaded, ask(exact=True))
    assert again.pictures, "no hook is left behind"


def test_a_question_waits_its_turn_between_ticks(loaded: DiffusionEngine, calls: Calls) -> None:
    """While a picture is made a question of four model calls is answered, one call between two ticks."""
    question = parse("losses", {"checkpoint": "tiny", "points": "4"}, png())

    async def both() -> tuple[Answer, Any]:
        job = loaded.submit(ask(num_inference_steps=30), owner="ben")
        answer, events = await asyncio.gather(loaded.inquire(question, owner="anna"), events_of(loaded, job, "ben"))
        return answer, events[-1]

    answer, last = asyncio.run(both())
    assert isinstance(last, Finished)
    assert len(json.loads(answer.content)["losses"]["right"]) == 4


def test_what_cannot_be_answered_is_refused(loaded: DiffusionEngine) -> None:
    with pytest.raises(InvalidRequest, match="checkpoint"):
        inquire(loaded, "schedule", checkpoint="nowhere")
    with pytest.raises(Refused, match="once the checkpoint is loaded"):
        inquire(loaded, "schedule", checkpoint="tiny-v")
    with pytest.raises(InvalidRequest, match="image"):
        inquire(loaded, "vae", b"no picture")
    inquire(loaded, "vae", png())


def test_a_fault_in_an_answer_is_refused_and_the_next_one_comes(
    loaded: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.engine.viewer import part_answers

    def broken(*_: object) -> None:
        raise RuntimeError("nobody expects this one")

    with monkeypatch.context() as patch:
        patch.setattr(part_answers, "psnr", broken)
        with pytest.raises(Refused, match="error id"):
            inquire(loaded, "vae", png())
    inquire(loaded, "vae", png())


def test_too_many_questions_are_refused_and_a_closing_studio_answers_none() -> None:
    waiting = Inquiries()

    def inquiry(owner: str) -> Inquiry:
        return Inquiry(Question(checkpoint="tiny"), owner)

    mine = [inquiry("anna") for _ in range(WAITING_OF_ONE)]
    for one in mine:
        waiting.add(one)
    with pytest.raises(Refused):
        waiting.add(inquiry("anna"))
    waiting.add(inquiry("ben"))
    done: list[str] = []

    def begin(of: Inquiry) -> Slices:
        yield
        done.append(of.owner)
        return Answer(content=b"", media_type="")

    mine[0].future.cancel()
    while waiting.work(begin, lambda error: error):
        pass
    assert done == ["anna"] * (WAITING_OF_ONE - 1) + ["ben"]
    waiting.add(last := inquiry("anna"))
    waiting.close()
    with pytest.raises(Refused, match="closing"):
        last.future.result()
    with pytest.raises(Refused):
        waiting.add(inquiry("anna"))


@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "euler", "heun", "dpm2", "pndm", "ddim", "lcm"])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_where_a_run_begins_is_known_before_it_runs(loaded: DiffusionEngine, scheduler: str, strength: float) -> None:
    """a latents + s noise is what the U-Net is given first when the run is made with the same settings."""
    settings: dict[str, Any] = {"num_inference_steps": 5, "scheduler": scheduler, "seed": 9}
    answer = inquire(loaded, "start", png(96, 64), strength=strength, width=64, resize_mode="crop", **settings)
    tensors, facts = load(answer.content), header(answer.content)
    steps = len(facts["levels"]) - 1
    assert (steps, facts["width"], facts["height"], facts["levels"][0]) == (5, 64, 64, [1.0, 0.0])
    assert [s for _, s in facts["levels"]] == sorted(s for _, s in facts["levels"])
    request = ImageToImage(
        prompt="", checkpoint="tiny", image=png(96, 64), width=64, height=64, strength=strength, **settings
    )
    job = loaded.submit(request, owner="anna")
    last = asyncio.run(events_of(loaded, job))[-1]
    assert isinstance(last, Finished)
    a, s = facts["levels"][int(5 * strength)]
    start = a * tensors["latents"].astype(np.float32) + s * tensors["noise"].astype(np.float32)
    if strength == 0:
        assert last.pictures[0].info["evaluations"] == 0
        return
    first = load(loaded.record(job, owner="anna"))["x_t"][0].astype(np.float32)
    assert np.abs(first - start).max() < 0.02, "but for half precision"


def test_the_decoded_start_is_a_picture_of_the_size_that_is_made(loaded: DiffusionEngine) -> None:
    decoded = inquire(loaded, "decoded-start", png(128, 64), resize_mode="fit", strength=0.0)
    assert decoded.media_type == "image/jpeg"
    with Image.open(io.BytesIO(decoded.content)) as clean:
        assert clean.size == (88, 64), "never less than a side of 64"
        before = np.asarray(clean).astype(int)
    with Image.open(io.BytesIO(inquire(loaded, "decoded-start", png(128, 64), resize_mode="fit").content)) as noised:
        assert not (np.asarray(noised) == before).all()


@pytest.mark.parametrize(
    ("field", "bad"), [("width", "65"), ("height", "abc"), ("resize_mode", "melt"), ("strength", "nan"), ("seed", "-1")]
)
def test_a_start_that_could_not_be_run_is_refused_by_its_field(field: str, bad: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{field}: "):
        parse("start", {"checkpoint": "tiny", field: bad}, png())
    with pytest.raises(InvalidRequest, match="noise_schedule: "):
        parse("decoded-start", {"checkpoint": "tiny", "scheduler": "ddim", "noise_schedule": "karras"}, png())


def test_tokens_have_lengths_and_angles(loaded: DiffusionEngine) -> None:
    told = json.loads(inquire(loaded, "embeddings", prompt="a red red fox").content)
    kinds = [token["kind"] for token in told["tokens"]]
    assert kinds == ["begin", *["content"] * 4, "end"]
    assert [token["text"] for token in told["tokens"]][1:5] == ["a", "red", "red", "fox"]
    cosine = np.array(told["cosine"])
    assert np.diag(cosine) == pytest.approx(1, abs=1e-3)
    assert (cosine == cosine.T).all()
    assert all(token["norm"] > 0 for token in told["tokens"])
    flat = np.array([token["at"] for token in told["tokens"]])
    assert flat.mean(axis=0) == pytest.approx(0, abs=1e-3)
    assert 0 < told["share"] <= 1
    # Where the two directions hold everything, distances on the map are those of the unit vectors.
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=2) ** 2
    assert (distances <= 2 - 2 * cosine + 1e-3).all()
    long = json.loads(inquire(loaded, "embeddings", prompt="fox " * 400).content)
    assert len(long["tokens"]) == 154
    assert long["left_out"] > 0
    empty = json.loads(inquire(loaded, "embeddings").content)
    assert [token["kind"] for token in empty["tokens"]] == ["begin", "end"]
