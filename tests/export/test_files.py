"""Exports of a recording: each opens in a reader that is not ours, and shows what was recorded."""

from __future__ import annotations

import csv
import io
import json
import time
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.numpy import load

from studio.asked.problems import InvalidRequest
from studio.asked.quantities import QUANTITIES
from studio.diffusion.preview import decode_fast
from studio.engine.recorded_evaluation import RecordedAttention
from studio.engine.viewer.recorder import Recorder
from studio.export.attention import OPACITY, words
from studio.export.files import EXPORT_KINDS, export
from studio.export.frames import caption, frames
from studio.export.replay import Replay
from studio.export.replay import decode_fast as decode_in_numpy
from studio.ui.text import say
from tests.engine.test_recorder import evaluation

SEEN = {"attention.down.3x2": (3, 2), "attention.up.6x4": (6, 4), "attention.mid.3x2": (3, 2)}
FACTS: dict[str, Any] = {
    "total": 3, "width": 64, "height": 96, "seed": 5, "prompt": 'a "fox" </script>, snow', "scheduler_label": "Euler",
    "checkpoint": "tiny", "prediction_type": "epsilon",
    "schedulers": [{"evaluation": 0, "scheduler": "euler", "scheduler_label": "Euler", "adds_noise": False}],
}  # fmt: skip


def recording(count: int = 3, decoder: bool = True, **facts: Any) -> bytes:
    recorder = Recorder()
    generator = np.random.default_rng(7)
    weights = (generator.normal(size=(192, 4, 3, 3)).astype(np.float32) / 6, np.zeros(192, np.float32))
    recorder.begin("a", 0, FACTS | facts, weights if decoder else None)
    for index in range(count):
        latents = generator.normal(size=(4, 12, 8)).astype(np.float32)
        outputs = generator.normal(size=(2, 4, 12, 8)).astype(np.float32)
        one = evaluation(index, latents=latents, outputs=outputs, guidance_scale=5.0)
        recorder.add("a", 0, one, latents)
    data = recorder.get("a", 0, 0, "finished")
    assert data is not None
    return data


def test_a_replay_derives_what_the_run_saw() -> None:
    replay = Replay(recording())
    facts, x_t = replay.evaluations[1], replay.of(1, "x_t")
    x0, noise = replay.of(1, "denoised"), replay.of(1, "noise_pred")
    assert x_t is not None
    assert x0 is not None
    assert noise is not None
    assert np.abs(facts["a"] * x0 + facts["s"] * noise - x_t).max() < 1e-4
    assert float(np.linalg.norm(noise)) == pytest.approx(facts["norm_noise_pred"], rel=1e-3)
    assert float(np.linalg.norm(x0)) == pytest.approx(facts["norm_denoised"], rel=1e-3)


def test_the_decoder_is_the_previews_own() -> None:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn((1, 4, 6, 5), generator=generator)
    weight, bias = torch.randn((192, 4, 3, 3), generator=generator) / 9, torch.randn(192, generator=generator) / 9
    theirs = ((decode_fast(latents, weight, bias)[0] * 0.5 + 0.5) * 255).round().permute(1, 2, 0).numpy()
    ours = np.asarray(decode_in_numpy(latents[0].numpy(), weight.numpy(), bias.numpy())).astype(float)
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("decoder", [True, False])
@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_an_animation_has_a_frame_for_every_evaluation(kind: str, decoder: bool) -> None:
    file = export(recording(decoder=decoder), kind, {"fps": "10"})
    assert (file.name, file.media_type) == (f"latent-studio-5.{kind}", f"image/{kind}")
    with Image.open(io.BytesIO(file.content)) as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]
        assert film.info["loop"] == 0
        film.seek(0)
        assert film.info.get("duration", 100) == 100
        assert film.width > 3 * 256
        seen = np.asarray(film.convert("RGB")).astype(float)
        film.seek(2)
        assert np.abs(np.asarray(film.convert("RGB")).astype(float) - seen).mean() > 1


def test_every_quantity_of_the_panes_is_drawn_and_is_what_it_says() -> None:
    data = recording(4, total=4)
    replay = Replay(data)
    tensors, facts = load(data), replay.evaluations[2]
    x_t = tensors["x_t"].astype(np.float32)
    cond, d = (tensors[name][2].astype(np.float32) for name in ("model_cond", "model_difference"))
    x0 = {name: (x_t[2] - facts["s"] * m) / facts["a"] for name, m in (("x0_cond", cond), ("x0_uncond", cond - d))}
    last = Replay(data).of(3, "denoised")
    assert last is not None
    wanted = x0 | {
        "eps_cond": cond,
        "eps_uncond": cond - d,
        "guidance": d,
        "change_x_t": x_t[3] - x_t[2],
        "change_x0": replay.of(2, "denoised") - replay.of(1, "denoised"),  # type: ignore[operator]
        "left_x0": replay.of(2, "denoised") - last,  # type: ignore[operator]
    }
    assert QUANTITIES.keys() == wanted.keys() | {"x_t", "denoised", "noise_pred"}
    for name, values in wanted.items():
        found = replay.of(2, name)
        assert found is not None
        assert np.abs(found - values).max() < 1e-3, name
    assert replay.of(0, "change_x0") is None
    after = replay.of(3, "change_x_t")
    assert after is not None
    assert np.abs(after - (tensors["latents"].astype(np.float32) - x_t[3])).max() < 1e-3
    one = {"quantities": ",".join(QUANTITIES), "fps": "5"}
    sizes = set()
    for how in ("fast", "channels", "cells"):
        with Image.open(io.BytesIO(export(data, "webp", one | {"how": how}).content)) as film:
            assert film.n_frames == 4  # type: ignore[attr-defined]
            sizes.add(film.size)
            assert film.width < 5 * 300, "four side by side, the others below"
    assert len(sizes) == 1
    picture, words_ = replay.quantity_picture(2, "guidance")
    assert picture is not None
    assert words_.startswith("RMS per cell, 0 .. ")
    heat = np.asarray(picture).astype(float)
    sizes_of_cells = np.sqrt((d**2).mean(axis=0))
    brightest = np.unravel_index(sizes_of_cells.argmax(), sizes_of_cells.shape)
    assert heat[..., 1].max() == heat[brightest][1], "the largest cell is the brightest"
    assert replay.quantity_picture(0, "change_x0") == (None, "undefined here")


def test_noise_is_drawn_with_less_contrast_and_predicted_noise_in_one_hue() -> None:
    replay = Replay(recording())
    facts, x_t = replay.evaluations[0], replay.of(0, "x_t")
    assert x_t is not None
    picture, words_ = replay.quantity_picture(0, "x_t")
    assert picture is not None
    level = facts["a"] ** 2 + facts["s"] ** 2
    gain = (facts["a"] ** 2 + 0.3 * facts["s"] ** 2) / level
    assert words_ == f"fast decoder, contrast x {gain:.2f}"
    assert (np.asarray(picture) == np.asarray(replay.picture(np.float32(gain) * x_t))).all()
    assert np.asarray(picture).std() < np.asarray(replay.picture(x_t)).std()
    noise, words_ = replay.quantity_picture(0, "noise_pred")
    assert noise is not None
    assert words_ == "fast decoder, contrast x 0.30"
    red, green, blue = np.asarray(noise).astype(int).transpose(2, 0, 1)
    assert (blue > red).all()
    assert np.abs(green - red).max() <= 3
    assert replay.quantity_picture(0, "denoised")[1] == "fast decoder"


def test_a_film_labels_a_quantity_as_the_page_does(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, place, text, *rest: drawn.append(text))
    next(frames(Replay(recording()), tuple(QUANTITIES)))
    for name in QUANTITIES:
        assert say(f"viewer.pane.{name}") in drawn, name


def test_without_guidance_there_is_no_answer_without_the_prompt() -> None:
    recorder = Recorder()
    recorder.begin("a", 0, FACTS | {"total": 1})
    recorder.add("a", 0, evaluation(0), np.zeros((4, 8, 8), np.float32))
    replay = Replay(recorder.get("a", 0, 0, "finished") or b"")
    assert [name for name in QUANTITIES if replay.of(0, name) is None] == [
        "x0_uncond", "eps_uncond", "guidance", "change_x0"
    ]  # fmt: skip


def test_the_cursor_moves_along_the_schedule() -> None:
    replay = Replay(recording())
    amber = []
    for index in range(3):
        pixels = np.asarray(list(frames(replay))[index]).astype(int)
        close = np.abs(pixels - (233, 162, 59)).sum(axis=-1) < 6
        amber.append(float(np.nonzero(close[-60:])[1].mean()))
    assert amber == sorted(set(amber))
    assert amber[0] < 30


def test_a_film_is_h264_that_every_player_takes() -> None:
    import av

    file = export(recording(), "mp4", {"fps": "4", "quantities": "x_t,denoised"})
    with av.open(io.BytesIO(file.content)) as film:
        stream = film.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 4
    assert len(frames) == 3 + 6, "the last one stands for a second and a half"
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    assert np.abs(frames[0].astype(float) - frames[2]).mean() > 1
    assert np.abs(frames[2].astype(float) - frames[-1]).mean() < 2


def test_a_contact_sheet_shows_every_evaluation() -> None:
    file = export(recording(7, total=7), "sheet", {"quantities": "denoised"})
    with Image.open(io.BytesIO(file.content)) as sheet:
        pane = sheet.width // 5
        assert sheet.width % 5 == 0
        assert sheet.height % 2 == 0
        pixels = np.asarray(sheet)
    half = sheet.height // 2
    assert (pixels[half:, 2 * pane :] == (250, 249, 246)).all(), "seven of ten places"
    assert not (pixels[half : half + half, pane : 2 * pane] == (250, 249, 246)).all()


def test_tensors_are_the_record_and_what_follows_from_it() -> None:
    data = recording()
    file = load(export(data, "tensors", {}).content)
    for name, values in load(data).items():
        assert (file[name] == values).all()
    assert file["denoised"].shape == file["noise_pred"].shape == (3, 4, 12, 8)
    x0 = Replay(data).of(2, "denoised")
    assert x0 is not None
    assert np.abs(file["denoised"][2] - x0).max() < 0.02


def test_the_table_has_a_row_for_every_evaluation_and_empty_cells_for_what_has_no_value() -> None:
    rows = list(csv.DictReader(io.StringIO(export(recording(), "csv", {}).content.decode())))
    facts = Replay(recording()).evaluations
    assert [int(row["index"]) for row in rows] == [0, 1, 2]
    for row, expected in zip(rows, facts):
        assert float(row["sigma"]) == pytest.approx(expected["sigma"])
        assert float(row["step_equation.x0"]) == pytest.approx(expected["step_equation"]["x0"])
        assert float(row["mean.x_t.3"]) == pytest.approx(expected["mean"]["x_t"][3])
    assert rows[0]["step_equation.x0_prev2"] == ""


def test_the_settings_are_the_header_of_the_recording() -> None:
    data = recording()
    assert json.loads(export(data, "json", {}).content) == Replay(data).run


def test_the_attention_of_each_word_is_a_picture() -> None:
    """Two pieces of one word add up; groups count by their layers; padding and middle are no picture."""
    text = {"kinds": ["begin", "content", "content", "content", "end"], "words": [None, 0, 0, 1, None]}
    chunks = [text | {"text": ["", "f", "ox", "fox", ""]}]
    rows = [{"chunk": 0, "position": k} for k in range(5)] + [{"chunk": 0, "position": None}]
    layers = [{"place": p, "height": h, "width": w} for p, h, w in (("down", 3, 2), ("up", 6, 4), ("up", 6, 4))]
    maps = {name: np.zeros((6, *size), np.float16) for name, size in SEEN.items()}
    maps["attention.down.3x2"][1] = 0.25
    maps["attention.down.3x2"][2, 0, 0] = 0.5
    maps["attention.up.6x4"][3, 5, 3] = 0.75
    maps["attention.mid.3x2"][:] = 1.0
    recorder = Recorder()
    tokens = {"prompt": [{"until": 9, "text": "fox fox", "chunks": chunks}]}
    recorder.begin("a", 0, FACTS | {"tokens": tokens, "attention_rows": [rows]})
    values = np.zeros((4, 12, 8), np.float32)
    for index in range(2):
        seen = RecordedAttention(maps, 0, tuple(layers))
        one = evaluation(index, latents=values, outputs=values[None], attention=seen)
        recorder.add("a", 0, one, values)
    data = recorder.get("a", 0, 0, "finished")
    assert data is not None
    found = words(Replay(data))
    assert list(found) == ["fox", "fox (2)"]
    assert found["fox"].shape == (6, 4)
    assert found["fox"][5, 3] == pytest.approx(0.25 / 3, abs=1e-3)
    assert found["fox"][0, 0] == pytest.approx(0.75 / 3, abs=1e-3)
    assert found["fox (2)"][5, 3] == pytest.approx(0.75 * 2 / 3, abs=1e-3)
    with zipfile.ZipFile(io.BytesIO(export(data, "attention", {}).content)) as whole:
        assert whole.namelist() == ["01-fox.png", "02-fox_2_.png", "scale.json"]
        assert json.loads(whole.read("scale.json"))["scale"] == [0.0, pytest.approx(0.5, abs=1e-3)]
        picture = np.asarray(Image.open(io.BytesIO(whole.read("02-fox_2_.png"))), float)
    assert picture.shape == (96, 64, 3)
    # The brightest colour of the scale is where the word was looked at, the darkest elsewhere.
    assert picture[-4, -4, 0] - picture[4, 4, 0] > 0.5 * OPACITY * (253 - 68)


def test_the_page_replays_without_a_studio_and_no_prompt_can_break_out() -> None:
    from studio.ui.viewer.replay_page import replay_page

    data = recording()
    page = replay_page(data, Replay(data).run).decode()
    assert "<title>a &quot;fox&quot; &lt;/script&gt;, snow" in page
    assert "/studio-static/" not in page
    assert page.count("</script>") == page.count("<script")
    start = page.index('id="props">') + len('id="props">')
    props = json.loads(page[start : page.index("</script>", start)])
    assert props["value"]["job"] == "record"
    assert "attention" in props["languages"]["en"]["panels"]
    assert "forward" not in props["languages"]["en"]["panels"]


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        ("avi", {}, "kind"),
        ("mp4", {"fps": "0"}, "fps"),
        ("mp4", {"fps": "nan"}, "fps"),
        ("mp4", {"quantities": "x_t,colour"}, "quantities"),
        ("gif", {"quantities": ""}, "quantities"),
        ("gif", {"size": "3"}, "size"),
        ("gif", {"quantities": "x_t,x_t"}, "quantities"),
        ("gif", {"how": "oil"}, "how"),
        ("attention", {}, "kind"),
    ],
)
def test_what_cannot_be_exported_is_refused(kind: str, given: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        export(recording(), kind, given)
    assert [p.field for p in refused.value.problems] == [field]


def test_every_kind_makes_a_file_where_x0_is_undefined() -> None:
    recorder = Recorder()
    recorder.begin("a", 0, FACTS | {"total": 1})
    values = np.ones((4, 12, 8), np.float32)
    recorder.add("a", 0, evaluation(0, sigma=float("inf"), a=0.0, s=1.0, latents=values, outputs=values[None]), values)
    data = recorder.get("a", 0, 0, "finished")
    assert data is not None
    for kind in EXPORT_KINDS.keys() - {"attention"}:
        assert len(export(data, kind, {}).content) > 100, kind


def test_no_caption_of_a_contact_sheet_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageDraw

    drawn: list[tuple[float, str, float]] = []
    text = ImageDraw.ImageDraw.text

    def note(self: ImageDraw.ImageDraw, place: tuple[float, float], words: str, fill: object, font: Any) -> None:
        drawn.append((place[0] + font.getlength(words), words, self.im.size[0]))
        text(self, place, words, fill, font)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    replay = Replay(recording())
    pictures = list(frames(replay, ("denoised",)))
    assert len({picture.size for picture in pictures}) == 1
    assert all(end <= width for end, _, width in drawn), [words for end, words, width in drawn if end > width]
    said = " ".join(words for _, words, _ in drawn)
    for index in range(len(replay)):
        assert all(word in said for word in caption(replay, index).split())


def test_a_gif_takes_no_longer_than_twice_an_mp4() -> None:
    data = recording(12, total=12)
    seconds = {}
    for kind in ("mp4", "gif"):
        began = time.process_time()
        export(data, kind, {})
        seconds[kind] = time.process_time() - began
    assert seconds["gif"] < 2 * seconds["mp4"]


@pytest.mark.parametrize("second_pass", [None, {"width": 128, "height": 192, "steps": 2, "strength": 0.5}])
def test_a_film_and_a_sheet_end_with_the_finished_picture(second_pass: dict[str, Any] | None) -> None:
    replay = Replay(recording(second_pass=second_pass))
    assert len(list(frames(replay))) == 3
    side = 2 if second_pass else 1
    replay.tensors["picture"] = np.full((96 * side, 64 * side, 3), (10, 200, 30), np.uint8)
    *before, end = frames(replay)
    assert (len(before), end.size) == (3, before[0].size)
    green = [(np.asarray(one) == (10, 200, 30)).all(axis=2).sum() for one in (before[-1], end)]
    assert green == [0, 256 * 384], "the whole of one pane"
    assert len(list(frames(replay, ("x_t",)))) == 3, "the place of predicted x0 is not shown"
