"""What the page computes by itself is what Python computes under the same name: one page for all of it."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page

from studio.answered.models import PredictionName
from studio.asked.compare import Comparison
from studio.asked.guidance import GuidanceSettings
from studio.asked.quantities import QUANTITIES
from studio.asked.questions import ScheduleCurves
from studio.asked.schedulers import steps_run
from studio.diffusion.forward import training_curve
from studio.diffusion.guidance_methods import GuidanceMethod
from studio.diffusion.levels import Level, flow_level
from studio.diffusion.paths import path_of
from studio.diffusion.predictions import prediction_of
from studio.diffusion.quantities import noise_terms, x0_terms
from studio.diffusion.schedule import make_schedule
from studio.engine.viewer.answer_format import level_facts
from studio.engine.viewer.answers import schedule_answer
from studio.engine.viewer.measures import measures_of, spectrum
from studio.engine.viewer.noised_start import first_levels
from studio.engine.viewer.part_answers import psnr
from studio.engine.viewer.record_format import in_eight_bits
from studio.engine.viewer.recorder import Recorder
from studio.engine.viewer.recording import rows_at
from studio.export.replay import Replay, cells
from studio.picture import masks
from studio.ui.render import spread_frames
from studio.ui.text import say
from tests.browser.conftest import MODULES, Studio, ready
from tests.engine.test_recorder import evaluation
from tests.families.helpers import COSXL_CONFIG, EDM_CONFIG

SD: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
}  # fmt: skip
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "prediction_type": "flow_prediction"}
CONFIGS: dict[str, dict[str, Any]] = {  # one of each path of noise, with the ways they differ in
    "scaled_linear": SD | {"prediction_type": "epsilon"},
    "zero_snr": SD | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
    "squaredcos": SD | {"prediction_type": "epsilon", "beta_schedule": "squaredcos_cap_v2"},
    "playground": dict(EDM_CONFIG) | {"_class_name": "EDMEulerScheduler"},
    "cosxl": dict(COSXL_CONFIG) | {"_class_name": "EDMEulerScheduler"},
    "flow": FLOW | {"shift": 1.0},
    "flow_shifted": FLOW | {"shift": 3.0},
}  # fmt: skip
LEVELS: dict[str, Level] = {  # by what the checkpoint predicts: a level of its path
    "epsilon": Level(0.75, 0.8, 0.6),
    "v_prediction": Level(24 / 7, 0.28, 0.96),
    "sample": Level(4 / 3, 0.6, 0.8),
    "flow_prediction": flow_level(0.3),
    "edm_epsilon": path_of(EDM_CONFIG).level(0.7),
    "edm_v_prediction": path_of(COSXL_CONFIG).level(3.0),
}


@pytest.fixture(scope="module")
def page(browser: Browser, studio: Studio) -> Iterator[Page]:
    context = browser.new_context()
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(studio.url)
    ready(opened)
    yield opened
    context.close()
    assert not errors


def computed(page: Page, module: str, expression: str, given: Any = None) -> Any:
    """What an expression gives in the page; `m` are the module's exports and `given` the values."""
    return page.evaluate(f"async (given) => {{ const m = {MODULES}['{module}']; return {expression}; }}", given)


LEVELS_JS, MEASURES, QUANTITIES_JS, GUIDANCE_JS = (
    f"viewer/static/{name}.js" for name in ("levels", "measures", "quantities", "guidance_methods")
)


# --------------------------------------------------------------------------------------------- predictions, guidance


@pytest.mark.parametrize("prediction", get_args(PredictionName))
def test_predicted_x0_and_noise(page: Page, prediction: str) -> None:
    rng = np.random.default_rng(3)
    x_t, output = rng.normal(size=(2, 48)).astype(np.float32)
    level = LEVELS[prediction]
    js = "[m.predictedX0, m.predictedNoise].map((f) => [...f(given.type, given, given.output)])"
    given = {"type": prediction, "x_t": x_t.tolist(), "output": output.tolist(), "a": level.a, "s": level.s}
    for values, terms in zip(
        computed(page, QUANTITIES_JS, js, given),
        (x0_terms(level.a, level.s, prediction), noise_terms(level.a, level.s, prediction)),
    ):
        assert terms is not None
        np.testing.assert_allclose(values, terms.of_input * x_t + terms.of_output * output, atol=1e-5)


@pytest.mark.parametrize("w", [0.0, 1.0, 5.5, 12.0])
def test_guidance_is_u_plus_w_times_the_difference(page: Page, w: float) -> None:
    cond, uncond = np.random.default_rng(4).normal(size=(2, 32)).astype(np.float32)
    given = {"model_cond": cond.tolist(), "model_difference": (cond - uncond).tolist(), "w": w}
    values = computed(page, QUANTITIES_JS, "[...m.guidedOutput(given, given.w)]", given)
    np.testing.assert_allclose(values, uncond + w * (cond - uncond), atol=2e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("method", ["cfg", "rescale", "apg", "cfgpp"])
def test_the_ways_of_guidance_at_one_evaluation(page: Page, method: str, prediction: str) -> None:
    """The what-if of the guidance panel is the engine's guidance, and an arrow's ends are predicted pictures."""
    cond, uncond, x_t = np.random.default_rng(5).normal(size=(3, 48)).astype(np.float32)
    level, w = LEVELS[prediction], 7.5
    given: dict[str, Any] = {
        "evaluation": {
            "model_cond": cond.tolist(), "model_difference": (cond - uncond).tolist(), "x_t": x_t.tolist(),
            "a": level.a, "s": level.s,
        },
        "type": prediction, "method": method, "w": w, "settings": {"rescale": 0.7, "eta": 0.2, "norm": 3.0},
    }  # fmt: skip
    js = (
        "(() => { const g = m.guidedBy(given.method, given.type, given.evaluation, given.w, given.settings);"
        " return [[...g], m.inPlane(given.type, given.evaluation, [g])[0]]; })()"
    )
    values, end = computed(page, GUIDANCE_JS, js, given)
    settings = GuidanceSettings(
        rescale=0.7 if method == "rescale" else 0.0,
        method="cfg" if method == "rescale" else method,  # type: ignore[arg-type]
        apg_eta=0.2,
        apg_norm=3.0,
    )
    outputs = torch.from_numpy(np.stack([uncond, cond])).reshape(2, 3, 4, 4)
    guided = GuidanceMethod(settings, prediction).guide(outputs, w, torch.from_numpy(x_t).reshape(1, 3, 4, 4), level)
    np.testing.assert_allclose(values, guided.numpy().ravel(), atol=1e-4)
    terms = x0_terms(level.a, level.s, prediction)
    assert terms is not None
    way = terms.of_output * (guided.numpy().ravel() - cond)
    x0 = terms.of_input * x_t + terms.of_output * cond
    along = float(way @ x0 / np.linalg.norm(x0))
    assert end[0] == pytest.approx(along, abs=1e-3)
    if method != "rescale":  # the others stay in the plane
        assert math.hypot(*end) == pytest.approx(float(np.linalg.norm(way)), rel=1e-3)


# --------------------------------------------------------------------------------------------------- levels, schedules


@pytest.mark.parametrize("kind", CONFIGS)
def test_levels_in_all_their_measures(page: Page, kind: str) -> None:
    levels = training_curve(CONFIGS[kind]).levels[::37] + training_curve(CONFIGS[kind]).levels[-1:]
    js = "given.map(([a, s]) => ({ ...m.levelFacts({ a, s }), abar: m.alphaBar({ a, s }) }))"
    for values, level in zip(computed(page, LEVELS_JS, js, [[one.a, one.s] for one in levels]), levels, strict=True):
        for name, expected in level_facts(level).items():
            assert values[name] == (None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-12)), name
        if values["log_snr"] is not None:
            decibels = computed(page, LEVELS_JS, "m.decibels(given)", values["log_snr"])
            assert decibels == pytest.approx(20 * math.log10(level.a / level.s))


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_level_between_two_training_timesteps(page: Page, kind: str) -> None:
    levels = training_curve(CONFIGS[kind]).levels
    given = {"a": [one.a for one in levels], "s": [one.s for one in levels], "t": [0, 0.5, 400.25, 998.75, 999]}
    at = computed(page, LEVELS_JS, "given.t.map((t) => m.levelBetween(given, t))", given)
    for t, value in zip(given["t"], at):
        low, high = levels[math.floor(t)], levels[math.ceil(t)]
        assert min(low.a, high.a) - 1e-9 <= value["a"] <= max(low.a, high.a) + 1e-9
        assert low.s - 1e-9 <= value["s"] <= high.s + 1e-9
        if t == int(t):
            assert (value["a"], value["s"]) == pytest.approx((low.a, low.s))
        if path_of(CONFIGS[kind]).name == "preserving":
            assert value["a"] ** 2 + value["s"] ** 2 == pytest.approx(1)


SCHEDULES = [
    ("scaled_linear", "dpmpp_2m", "karras"), ("scaled_linear", "euler_a", "normal"),
    ("scaled_linear", "heun", "exponential"), ("scaled_linear", "dpm2", "normal"),
    ("squaredcos", "ddim", "automatic"), ("zero_snr", "euler", "automatic"), ("zero_snr", "unipc", "automatic"),
    ("playground", "dpmpp_2m", "automatic"), ("cosxl", "euler", "automatic"),
    ("flow", "euler", "automatic"), ("flow_shifted", "dpmpp_2m", "automatic"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "scheduler", "noise_schedule"), SCHEDULES)
def test_where_evaluations_lie_on_the_training_curve(
    page: Page, kind: str, scheduler: Any, noise_schedule: Any
) -> None:
    config = CONFIGS[kind]
    components: Any = SimpleNamespace(scheduler_config=config, prediction_type=prediction_of(config), family=None)
    question = ScheduleCurves(
        checkpoint="tiny", scheduler=scheduler, noise_schedule=noise_schedule, num_inference_steps=12
    )
    answer = json.loads(schedule_answer(question, components).content)
    js = "given.evaluations.map((one) => m.positionOf(given.training, one))"
    positions = computed(page, LEVELS_JS, js, answer)
    assert positions == pytest.approx([one["position"] for one in answer["evaluations"]], abs=0.02)

    # Image to image: where a strength begins, how many steps that runs, and the strength that runs so many.
    first = [one for one in answer["evaluations"] if one["stage"] != 2]
    for strength in (0.1, 0.3, 0.5, 0.75, 1.0):
        begins = computed(
            page, LEVELS_JS, "m.firstStep(given.steps, given.strength)", {"steps": first, "strength": strength}
        )
        many = steps_run(12, strength)
        schedule = make_schedule(scheduler, noise_schedule, 12, config, strength=strength) if many else None
        assert (begins is None) == (schedule is None)
        if schedule is not None:
            assert (begins["a"], begins["s"]) == pytest.approx((schedule.levels[0].a, schedule.levels[0].s))
            assert len(set(schedule.steps)) == many
    places = [one["position"] for one in first]
    left = computed(page, LEVELS_JS, "given.map((t) => m.stepsLeft(given, t))", places)
    assert left == sorted(left, reverse=True)
    assert left[0] == len(first)


def test_steps_that_a_strength_runs_and_the_strength_that_runs_so_many(page: Page) -> None:
    strengths = [k / 100 for k in range(101)]
    js = """[
      given.flatMap((strength) => Array.from({ length: 150 }, (_, k) => m.stepsRun(k + 1, strength))),
      Array.from({ length: 150 }, (_, k) => Array.from({ length: k + 1 }, (_, run) => m.strengthFor(k + 1, run + 1))),
    ]"""
    run, for_steps = computed(page, LEVELS_JS, js, strengths)
    assert run == [steps_run(steps, strength) for strength in strengths for steps in range(1, 151)]
    for steps, back in enumerate(for_steps, start=1):
        assert [steps_run(steps, strength) for strength in back] == list(range(1, steps + 1))


@pytest.mark.parametrize(("kind", "scheduler", "noise_schedule"), SCHEDULES)
def test_what_the_strength_slider_begins_with(page: Page, kind: str, scheduler: Any, noise_schedule: Any) -> None:
    config = CONFIGS[kind]
    whole = make_schedule(scheduler, noise_schedule, 12, config)
    levels = first_levels(whole)
    for strength in (0.05, 0.5, 0.92, 1.0):
        place = computed(page, LEVELS_JS, "m.stepsRun(given[0], given[1])", [len(levels) - 1, strength])
        many = steps_run(12, strength)
        if many == 0:
            assert levels[place] == (1.0, 0.0)
            continue
        begun = make_schedule(scheduler, noise_schedule, 12, config, strength=strength).levels[0]
        assert levels[place] == pytest.approx((begun.a, begun.s))


# ------------------------------------------------------------------------------------------------------------ measures


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 12, 7), (16, 6, 9)])
def test_measures_of_latents(page: Page, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(5)
    one, other = (rng.normal(size=shape).astype(np.float32) + 0.3 for _ in range(2))
    js = """{
      rms: m.rmsOf(given.one), cells: [...m.rmsOfCells(given.one, given.shape)],
      cosine: m.cosineOf(given.one, given.other), moments: m.moments(given.one),
      spectrum: m.spectrumOf(given.one, given.shape),
    }"""
    flat = {"one": one.ravel().tolist(), "other": other.ravel().tolist(), "shape": shape}
    values = computed(page, MEASURES, f"({js})", flat)
    level = {"outputs": np.stack([one, other]), "guidance_scale": 3.0, "latents": one}
    numbers = measures_of([evaluation(0, **level)], one, adds_noise=False)
    assert values["rms"] == pytest.approx(float(np.linalg.norm(one)) / math.sqrt(one.size), rel=1e-5)
    assert values["cosine"] == pytest.approx(numbers["cosine"], abs=1e-6)
    assert values["moments"] == pytest.approx({"mean": float(one.mean()), "std": float(one.std())}, rel=1e-5)
    np.testing.assert_allclose(values["cells"], cells(one).ravel(), rtol=1e-5)
    frequencies, power = zip(*values["spectrum"])
    assert list(frequencies) == list(range(1, min(shape[1:]) // 2 + 1))
    assert list(power) == pytest.approx(spectrum(one), rel=1e-3)


def test_the_peak_signal_to_noise_ratio_of_two_pictures(page: Page) -> None:
    one, other = np.random.default_rng(6).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    squares = float(((one.astype(float) - other.astype(float)) ** 2).sum())
    assert computed(page, MEASURES, "m.psnrOf(given[0], given[1])", [squares, one.size]) == pytest.approx(
        psnr(one, other)
    )


# ----------------------------------------------------------------------------------------------------------- recordings


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


BYTES = "Uint8Array.from(atob(given.data), (one) => one.charCodeAt(0)).buffer"


@pytest.mark.parametrize("prediction", get_args(PredictionName))
def test_every_quantity_of_a_recording(page: Page, prediction: str) -> None:
    recorder, level, rng = Recorder(), LEVELS[prediction], np.random.default_rng(7)
    facts = {
        "total": 3, "width": 64, "height": 64, "prediction_type": prediction,
        "schedulers": [
            {"evaluation": 0, "scheduler": "euler", "scheduler_label": "Euler", "adds_noise": False},
            {"evaluation": 2, "scheduler": "ddim", "scheduler_label": "DDIM", "adds_noise": False},
        ],
    }  # fmt: skip
    recorder.begin("a", 0, facts, None)
    for index in range(3):
        one = evaluation(
            index, a=level.a, s=level.s, sigma=level.sigma, prediction_type=prediction, guidance_scale=4.0,
            latents=rng.normal(size=(4, 8, 8)).astype(np.float32),
            outputs=rng.normal(size=(2, 4, 8, 8)).astype(np.float32),
        )  # fmt: skip
        recorder.add("a", 0, one, one.latents)
    data = recorder.get("a", 0, 0, "finished")
    assert data is not None
    replay = Replay(data)
    values = page.evaluate(
        f"""async (given) => {{
          const {{ Record }} = {MODULES}['viewer/static/record.js'];
          const {{ schedulerAt }} = {MODULES}['viewer/static/quantities.js'];
          const record = new Record('a', 0);
          record.take({BYTES});
          return [0, 1, 2].map((k) => ({{
            scheduler: schedulerAt(record, k).scheduler_label,
            quantities: given.names.map((name) => {{
              const values = record.latents(k, name);
              return values && {{ values: [...values], rms: record.rms(k, name), scale: record.scale(name) }};
            }}),
          }}));
        }}""",
        {"data": encoded(data), "names": list(QUANTITIES)},
    )
    for index, at in enumerate(values):
        assert at["scheduler"] == replay.scheduler(index)
        for name, found in zip(QUANTITIES, at["quantities"], strict=True):
            expected = replay.of(index, name)
            assert (found is None) == (expected is None), (index, name)
            if expected is not None:
                np.testing.assert_allclose(found["values"], expected.ravel(), atol=2e-5, err_msg=name)
                assert found["rms"] == pytest.approx(float(np.sqrt((expected.astype(float) ** 2).mean())), rel=1e-4)
                assert found["scale"] == pytest.approx(replay.scale(name), rel=1e-4) or found["scale"] == 0


def test_half_floats_and_numbers_of_eight_bits(page: Page) -> None:
    from safetensors.numpy import save

    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    wide = np.random.default_rng(8).normal(size=(2, 4, 5, 5)).astype(np.float32)
    small = in_eight_bits({"x": wide})
    data = save({"halves": halves, **{name: np.ascontiguousarray(one) for name, one in small.items()}})
    found = computed(
        page,
        "static/tensors.js",
        "(({ tensors }) => [[...tensors.halves.values].map(String), [...tensors.x.row(1)()]])"
        f"(m.readTensors({BYTES}))",
        {"data": encoded(data)},
    )
    values = np.array([float(one) for one in found[0]], np.float64)
    np.testing.assert_array_equal(values, halves.astype(np.float64))
    span = small["x.range"][1, :, 1] - small["x.range"][1, :, 0]
    np.testing.assert_allclose(
        np.array(found[1]).reshape(4, 5, 5),
        small["x.range"][1, :, :1, None] + small["x"][1] * (span / 255)[:, None, None],
        atol=1e-5,
    )


@pytest.mark.parametrize("step", range(6))
def test_the_text_of_a_prompt_that_holds_at_a_step(page: Page, step: int) -> None:
    texts = [{"until": until, "text": name, "chunks": []} for name, until in (("first", 2), ("second", 4), ("last", 9))]
    at = computed(
        page, "viewer/static/words.js", "m.textAt(given.texts, given.step).text", {"texts": texts, "step": step}
    )
    assert at == texts[rows_at(texts, 1, 77, step)[0]]["text"]


# ------------------------------------------------------------------------------- strips, comparisons, masks, metadata


@pytest.mark.parametrize(("evaluations", "frames"), [(5, 24), (24, 24), (25, 24), (38, 12), (60, 24), (150, 8), (2, 2)])
def test_the_evaluation_that_a_frame_of_a_strip_shows(page: Page, evaluations: int, frames: int) -> None:
    kept = [int(one) for one in spread_frames([str(k + 1).encode() for k in range(evaluations)], frames)]
    given = {"frames": kept, "total": len(kept), "evaluations": evaluations}
    js = "given.frames.map((_, k) => m.evaluationOf(given, k))"
    assert computed(page, "generate/static/stage/film.js", js, given) == kept


def test_the_settings_of_a_cell(page: Page) -> None:
    comparison = Comparison.parse(
        {
            "prompt": "a fox",
            "x": "num_inference_steps",
            "x_values": "3, 6, 9",
            "y": "guidance_scale",
            "y_values": "1, 4",
        }
    )
    view = {
        "columns": comparison.columns,
        "x": {"name": "Steps", "labels": ["3", "6", "9"]},
        "y": {"name": "Guidance", "labels": ["1", "4"]},
    }
    js = "Array.from({ length: 6 }, (_, k) => m.cellSettings(given, k))"
    for index, settings in enumerate(computed(page, "compare/static/words.js", js, view)):
        request = comparison.request(index)
        assert request is not None
        assert settings == f"Steps {request.num_inference_steps} · Guidance {request.guidance_scale:g}"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.8, 0.9, 1.0], "They differ from the first step on: by 0.800 there, by 1.000 at the end"),
        ([0.0, 0.1, 0.6, 1.0], "half of the last difference is there at 67 % of the way"),
        ([0.0, 0.5, 0.0], "They end alike: the largest difference on the way is 0.500"),
    ],
)
def test_where_two_runs_part_is_said_truly(page: Page, values: list[float], words: str) -> None:
    given = {
        "points": [{"level": float(k), "value": value} for k, value in enumerate(values)],
        "words": {key: say(f"compare.{key}") for key in ("curve.said", "curve.apart", "curve.meet")},
    }
    assert words in computed(page, "compare/static/curve.js", "m.sentenceOf(given.points, given.words)", given)


MASKS = {
    "light on dark": [(255, 255, 255, 255), (0, 0, 0, 255), (127, 127, 127, 255), (129, 129, 129, 255)],
    "a stroke of any colour": [(255, 0, 0, 255), (255, 0, 0, 127), (0, 0, 0, 0), (200, 30, 0, 200)],
    "black and white on transparent": [(255, 255, 255, 255), (0, 0, 0, 255), (255, 255, 255, 0), (240, 240, 240, 255)],
    "grey on transparent": [(90, 90, 90, 255), (90, 90, 90, 0), (120, 120, 120, 128), (60, 60, 60, 255)],
}


@pytest.mark.parametrize("kind", MASKS)
def test_which_pixels_of_a_mask_are_painted(page: Page, kind: str) -> None:
    drawing = Image.new("RGBA", (2, 2))
    drawing.putdata(MASKS[kind])
    file = io.BytesIO()
    drawing.save(file, "PNG")
    expected = np.asarray(masks.read_mask(file.getvalue(), (2, 2))).ravel() == 255
    js = "((painted) => [0, 1, 2, 3].map((k) => painted(k)))(m.paintTest(given))"
    assert (
        computed(page, "generate/static/mask.js", js, [c for pixel in MASKS[kind] for c in pixel]) == expected.tolist()
    )


def test_the_png_of_a_painted_mask(page: Page) -> None:
    values = np.random.default_rng(9).integers(0, 256, (5, 9), dtype=np.uint8)
    given = {"values": values.ravel().tolist(), "size": [9, 5]}
    png = computed(page, "generate/static/mask.js", "await m.greyPng(given.values, ...given.size)", given)
    mask = masks.read_mask(base64.b64decode(png), (9, 5))
    assert (np.asarray(mask) == masks.binary(Image.fromarray(values))).all()
