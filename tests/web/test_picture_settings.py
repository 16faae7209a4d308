"""What a dropped picture says: files of other programs, rubbish, an empty file, one too large, a GIF that moves; and a
pasted infotext."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from studio.answered.model_facts import ModelFacts
from studio.answered.models import Checkpoint, Model
from studio.asked.orders import ModelList
from studio.asked.problems import MAX_IMAGE_BYTES
from studio.picture.file_formats import OWN_CHUNK
from studio.picture.gallery import Gallery
from studio.picture.infotext import MAX_TEXT_BYTES
from studio.picture.metadata import texts_of
from studio.web.access import Access
from studio.web.language import Language
from studio.web.limits import NewVisitors, UploadLimits
from studio.web.owner import Owner
from studio.web.routes import Routes
from studio.web.upload_room import UploadRoom
from tests.ui.test_starting import a_picture
from tests.web.asgi import Page, Records, Visitor
from tests.web.test_board import BUILT_IN, TINY, Studio

CASES = Path(__file__).parents[1] / "cases"
CHECKPOINT = Model(
    id="c",
    name="small-world-128",
    label="",
    where="models",
    state="usable",
    facts=ModelFacts(kind="checkpoint", family="sd1"),
)
INFOTEXT = "a fox\nNegative prompt: blurry\nSteps: 9, Sampler: Euler, CFG scale: 4, Seed: 11"
INFOTEXT += ", Model hash: 0123456789, Model: far"
IMAGE = [("content-type", "image/png")]
TEXT = [("content-type", "text/plain")]


class Models(Records):
    """An engine that knows its models."""

    def catalog(self) -> tuple[Checkpoint, ...]:
        return ()

    models: tuple[Model, ...] = (CHECKPOINT,)

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        if isinstance(question, ModelList):
            return SimpleNamespace(models=self.models)
        return await super().ask(question, owner=owner)


def visitor(folder: Path, room: UploadRoom | None = None) -> Visitor:
    routes = Routes(Page(), engine=Models(), gallery=Gallery(folder / "outputs"), room=room)  # type: ignore[arg-type]
    one = Visitor(Owner(routes))
    one("/")
    return one


@pytest.fixture
def ann(tmp_path: Path) -> Visitor:
    return visitor(tmp_path)


def ask(one: Visitor, body: bytes, headers: list[tuple[str, str]] = IMAGE) -> Any:
    answer = one("/ask/picture-settings", method="POST", body=body, headers=headers)
    assert answer.status == 200, answer.body
    return answer.json()


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("a1111_nomodel.png", "AUTOMATIC1111"),
        ("a1111.gif", "AUTOMATIC1111"),
        ("comfy.png", "ComfyUI"),
        ("fooocus_a1111.jpg", "Fooocus"),
        ("swarm.png", "SwarmUI"),
        ("novelai.png", "NovelAI"),
        ("easydiffusion.png", "Easy Diffusion"),
    ],
)
def test_a_picture_of_another_program_says_its_settings(ann: Visitor, name: str, program: str) -> None:
    view = ask(ann, (CASES / name).read_bytes())
    says = view["says"]
    assert says["program"] == program
    assert says["prompt"]
    assert says["settings"]["prompt"]
    assert dict(says["stated"])["Steps"] == str(says["settings"]["num_inference_steps"])
    assert view["width"] > 0
    assert view["problem"] == ""


def test_what_is_missing_is_named_with_its_hash_and_what_cannot_be_obeyed_with_the_reason(ann: Visitor) -> None:
    says = ask(ann, (CASES / "a1111_nomodel.png").read_bytes())["says"]
    assert says["missing"] == [
        "Model 'v1-5-pruned-emaonly' is left out: it is not installed; its hash is 6ce0161689.",
        "The LoRA some_style is not installed.",
    ]
    says = ask(ann, (CASES / "size_513x769.png").read_bytes())["says"]
    assert says["missing"] == []
    assert says["left_out"][0].startswith("Size 513x769 is left out: not allowed here; each")
    assert "width" not in says["settings"]
    own = ask(ann, a_picture("a fox <lora:style:0.5>", lora_hashes={"style": "a1" * 32}))["says"]
    assert own["program"] == "Latent Studio"
    assert own["missing"] == ["The LoRA style is not installed; its hash is a1a1a1a1a1a1."]
    assert own["size"] == "64 × 64"
    assert not own["from_picture"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "image: an empty file is not allowed."),
        (b"rubbish", "image: a file that begins with"),
        (b"%PDF-1.7", "image: a PDF file is not allowed."),
        (bytes(MAX_IMAGE_BYTES + 1), "image: a file of 20.0 MiB is not allowed."),
        ((CASES / "comfy.png").read_bytes()[:60], "image: "),
    ],
)
def test_what_is_no_picture_is_refused_by_name(ann: Visitor, body: bytes, sentence: str) -> None:
    answer = ann("/ask/picture-settings", method="POST", body=body, headers=IMAGE)
    assert answer.status == 400
    assert answer.body.decode().startswith(sentence)
    assert len(answer.body) < 500


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def test_a_bomb_is_not_opened_and_a_gif_that_moves_is_a_picture(ann: Visitor) -> None:
    answer = ann("/ask/picture-settings", method="POST", body=png(9_000, 9_000), headers=IMAGE)
    assert answer.status == 400
    file = io.BytesIO()
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], comment=INFOTEXT.encode())
    view = ask(ann, file.getvalue())
    assert (view["width"], view["height"]) == (40, 30)
    assert view["says"]["settings"]["seed"] == "11"
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert ask(ann, file.getvalue()) == {"says": None, "width": 40, "height": 30, "problem": ""}


def test_settings_are_read_from_a_picture_that_cannot_be_opened_here(ann: Visitor) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x8769] = {0x9286: b"UNICODE\0" + INFOTEXT.encode("utf-16-be")}
    Image.new("RGB", (32, 32)).save(file, "AVIF", exif=exif)
    view = ask(ann, file.getvalue(), [("content-type", "image/avif")])
    assert view["says"]["settings"]["seed"] == "11"
    assert view["problem"].startswith("image: an AVIF file is not allowed.")


def test_a_pasted_text_says_the_same_and_one_without_settings_says_nothing(ann: Visitor) -> None:
    says = ask(ann, INFOTEXT.encode(), TEXT)["says"]
    assert says["settings"].items() >= {"prompt": "a fox", "negative_prompt": "blurry", "seed": "11"}.items()
    assert says["missing"] == ["Model 'far' is left out: it is not installed; its hash is 0123456789."]
    assert ask(ann, b"a fox in the snow", TEXT)["says"] is None
    graph = texts_of((CASES / "comfy.png").read_bytes())["prompt"]
    assert ask(ann, graph.encode(), TEXT)["says"]["program"] == "ComfyUI"
    info = texts_of(a_picture("a fox"))[OWN_CHUNK]
    assert ask(ann, info.encode(), TEXT)["says"]["program"] == "Latent Studio"
    assert ann("/ask/picture-settings", method="POST", body=bytes(MAX_TEXT_BYTES + 1), headers=TEXT).status == 400


def test_a_seed_of_comfyui_stays_exact_on_the_page(ann: Visitor) -> None:
    seed = 2**63 - 3  # JavaScript's numbers would round it
    says = ask(ann, INFOTEXT.replace("Seed: 11", f"Seed: {seed}").encode(), TEXT)["says"]
    assert says["settings"]["seed"] == str(seed)


def test_a_run_from_a_picture_is_no_run_of_words(ann: Visitor) -> None:
    text = INFOTEXT.replace("Seed: 11", "Seed: 11, Denoising strength: 0.4")
    assert ask(ann, text.encode(), TEXT)["says"]["from_picture"]


def test_the_answer_is_in_the_language_of_the_request(tmp_path: Path) -> None:
    routes = Routes(Page(), engine=Models(), gallery=Gallery(tmp_path / "outputs"))  # type: ignore[arg-type]
    one = Visitor(Language(Owner(routes)))
    headers = [*TEXT, ("accept-language", "zh-CN")]
    says = ask(one, INFOTEXT.encode(), headers)["says"]
    assert says["missing"] == ["未采用 Model 'far'：没有安装；它的哈希是 0123456789。"]
    assert ("种子 (Seed)", "11") in [tuple(pair) for pair in says["stated"]]


def test_the_picture_counts_as_an_upload_until_it_is_answered(tmp_path: Path) -> None:
    room = UploadRoom(tmp_path, Access(), NewVisitors(), UploadLimits(visitor=1000), free=lambda folder: 10**9)
    one = visitor(tmp_path, room)
    small = png(8, 8)
    for _ in range(30):  # more than fit in there together
        assert ask(one, small)["width"] == 8
    refused = one("/ask/picture-settings", method="POST", body=small + bytes(1000), headers=IMAGE)
    assert refused.status == 507


def test_a_guest_learns_nothing_of_models_they_may_not_use_and_reads_what_is_fixed(tmp_path: Path) -> None:
    lesson = Studio()
    lesson.board.decide({"models": [BUILT_IN.id], "locked": {"guidance_scale": 2.5}})
    routes = Routes(Page(), engine=lesson.engine, gallery=Gallery(tmp_path / "outputs"))
    one = Visitor(Owner(routes))
    text = f"a fox\nSteps: 9, Sampler: Euler, CFG scale: 4, Seed: 11, Model: {TINY.name}".encode()
    lesson.visitor = "the owner"
    owners = ask(one, text, TEXT)["says"]
    assert owners["settings"]["checkpoint"] == TINY.name
    assert owners["left_out"] == owners["missing"] == []
    lesson.visitor = lesson.guest
    guests = ask(one, text, TEXT)["says"]
    assert "checkpoint" not in guests["settings"]
    assert guests["missing"] == [f"Model '{TINY.name}' is left out: it is not installed."]
    assert guests["left_out"] == ["Guidance 4.0 is left out: the owner of this studio has fixed it at 2.5."]
    assert "guidance_scale" not in guests["settings"]
