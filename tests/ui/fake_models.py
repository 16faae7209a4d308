"""Models that are not there, for the page's tests: every state a list can show, loaded and unloaded in no time."""

from __future__ import annotations

import dataclasses
import io
import re
from dataclasses import replace

from PIL import Image

from studio.answered.engine import Pace, Refused, TokensAnswer
from studio.answered.model_facts import ModelFacts
from studio.answered.models import (
    Checkpoint,
    Conversion,
    Download,
    HubFile,
    MemoryUse,
    Merge,
    Model,
    ModelsNow,
    NoSuchModel,
)
from studio.asked import orders
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.prompt import parse_prompt

GIB = 2**30
EXAMPLES = (
    "a red apple in the snow",
    "a fox in the meadow",
    "a rocket in the night sky",
    "a small whale in the sea",
    "a cactus in the desert, pixel art",
    "two mushrooms at sunset",
)
WORDS = ("fox", "apple", "rocket", "whale", "cactus", "pizza", "owl", "snow", "meadow", "sea", "desert", "sunset",
         "night sky", "small", "big", "left", "right", "pixel art", "black and white")  # fmt: skip
OBJECTS = ("fox", "red apple", "rocket", "whale", "cactus", "pizza", "owl", "grapes")
PALETTE = (("", "#000000"), ("*", "#ffffff"), ("fox", "#c000ff"), ("red apple", "#40ff00"), ("cat", "#00ffff"))
VOCABULARY = (
    *(
        ("objects", name, name if name == "grapes" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}")
        for name in OBJECTS
    ),
    *(
        ("backgrounds", name, f"on {'an' if name[0] == 'o' else 'a'} {name} background")
        for name in ("red", "blue", "orange")
    ),
    ("backgrounds", "gray", "on a gray background", "grey"),
    ("scenes", "meadow", "in a meadow", "in the meadow", "on the grass"),
    ("scenes", "snow", "in the snow", "in winter"),
    ("sizes", "small", "small", "little", "tiny"),
    ("sizes", "big", "big", "large"),
    ("places", "left", "on the left"),
    ("places", "right", "on the right"),
    ("relations", "left of", "left of", "to the left of"),
    ("relations", "above", "above", "over"),
    ("relations", "and", "and"),
    ("styles", "pixel art", "pixel art"),
    ("styles", "black and white", "black and white", "monochrome"),
)
CATALOG = (
    Checkpoint(
        name="small-world-128", label="Small World", family="sd1", native_width=128, native_height=128,
        size_bytes=30 * 2**20, built_in=True, examples=EXAMPLES, words=WORDS,
        vocabulary=VOCABULARY, note="built in", controlnets=("control-segmentation",),
        controlnet_ids=("control-segmenta",), id="small-world-128x",
        fast_lora="small-world-fast", fast_lora_id="small-world-fast",
        palettes=(("control-segmentation", PALETTE),),
    ),
    Checkpoint(
        name="tiny-test", label="Tiny <b>test</b>", family="sd1", native_width=512, native_height=512,
        size_bytes=2**20, controlnets=("lines", "maps"), controlnet_ids=("linesxxxxxxxxxxx", "mapsxxxxxxxxxxxx"),
        vaes=("soft-vae",), vae_ids=("soft-vaexxxxxxxx",), id="tiny-testxxxxxxx",
        upscalers=("small-world-4x",), upscaler_ids=("small-world-4xxx",),
    ),
    Checkpoint(
        name="quick", label="Quick one", family="sd1", native_width=512, native_height=512, size_bytes=2**20,
        num_inference_steps=4, guidance_scale=1.0, scheduler="euler_a", noise_schedule="sgm_uniform",
        id="quickxxxxxxxxxxx",
    ),
)  # fmt: skip

SUITS = {one.name: one.suits for one in CATALOG}


def _model(name: str, **values: object) -> Model:
    """A model of these values: some are its file's facts, the others its place in the listing."""
    known = {field.name for field in dataclasses.fields(ModelFacts)} - {"reason"}
    facts = ModelFacts(**{key: value for key, value in values.items() if key in known})  # type: ignore[arg-type]
    listed = {field.name: values[field.name] for field in dataclasses.fields(Model) if field.name in values}
    return Model(
        id=f"{name:x<16.16}",
        name=name,
        facts=facts,
        **{"label": name, "where": "models/checkpoints", **listed},  # type: ignore[arg-type]
    )


MODELS = (
    _model(
        "small-world-128", label="Small World", kind="checkpoint", state="usable", where="models", family="sd1",
        form="folder", precision="fp16", parts=("unet", "vae", "text_encoder"), prediction_type="epsilon",
        native_width=128, native_height=128, size_bytes=30 * 2**20, built_in=True, place="device",
        sha256="5c1ab9d0e2" + "0" * 54, note="Drawn objects in drawn scenes.",
    ),
    _model(
        "tiny-test", label="Tiny <b>test</b>", kind="checkpoint", state="usable", family="sd1",
        precision="fp16", prediction_type="epsilon", native_width=512, native_height=512, size_bytes=2 * GIB,
        has_picture=True, metadata=(("modelspec.author", "<img src=x onerror=window.__xss=1>"),),
    ),
    _model(
        "dreamland-xl", kind="checkpoint", state="usable", family="sdxl", precision="fp16",
        prediction_type="v_prediction", native_width=1024, native_height=1024, size_bytes=int(6.9 * GIB), place="ram",
        where="stable-diffusion-webui/models/Stable-diffusion/xl", parts=("unet", "vae", "text_encoder"),
    ),
    _model(
        "old-model", kind="checkpoint", state="refused", form="pickle", size_bytes=4 * GIB, convertible=True,
        reason="old-model.ckpt is a pickle, which could run code when it is read. Only safetensors are loaded.",
    ),
    _model("bare", kind="checkpoint", state="incomplete", family="sd1", size_bytes=2 * GIB,
           parts=("unet", "text_encoder"), reason="There is no VAE with it: choose one for it."),
    _model("mystery", kind=None, state="unknown", size_bytes=5 * 2**20,
           reason="Its tensors belong to no kind of model that the studio knows."),
    _model("soft-vae", kind="vae", state="usable", where="models/vae", family="sd1", size_bytes=334 * 2**20,
           lends_vae_to=("sd1", "sd2")),
    _model("ink-lines", kind="lora", state="usable", where="models/loras", family="sdxl", size_bytes=218 * 2**20,
           trigger="ink lines", trigger_words=("ink lines",), tags=("fox", "snow"), has_picture=True),
    _model("small-world-4x", kind="upscaler", state="usable", where="models/upscalers", size_bytes=1_240_000,
           architecture="Real-ESRGAN Compact", scale=4),
)  # fmt: skip


class FakeModels:
    """What is asked about models, and ordered."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As at the start."""
        self.all = {model.id: model for model in MODELS}
        self.fetched: list[Download] = []
        self.converted: list[Conversion] = []
        self.merges: list[Merge] = []
        self.refreshed = 0

    def ask(self, question: object) -> object:
        match question:
            case orders.Tokens():
                words = list(re.finditer(r"\S+", question.text))
                pieces = tuple(word.group() for word in words)
                notices = parse_prompt(question.text, negative=question.negative).notices
                chunks = max(1, -(-len(pieces) // 75))
                return TokensAnswer(
                    count=len(pieces),
                    chunks=chunks,
                    pieces=pieces,
                    notices=notices,
                    places=tuple(word.span() for word in words),
                    sizes=(*[75] * (chunks - 1), len(pieces) - 75 * (chunks - 1)),
                    chunk_tokens=75,
                )
            case orders.WildcardNames():
                return ("animals/birds", "colors") if question.allowed else ()
            case orders.Speed():
                return Pace(width=128, height=128, seconds_per_row={8: 0.02}, seconds_per_picture=0.05)
            case orders.ModelList():
                self.refreshed += question.refresh
                return self.now()
            case orders.ModelPicture():
                return self.picture(question.model_id)
            case orders.RepositoryFiles():
                return self.repository(question.repository, token=question.token)
        raise Refused("The fake engine does not know this question.")

    def now(self) -> ModelsNow:
        models, fetched, converted = tuple(self.all.values()), tuple(self.fetched), tuple(self.converted)
        return ModelsNow(
            models=models,
            memory=self.memory(),
            downloads=fetched,
            conversions=converted,
            merges=tuple(self.merges),
        )

    def order(self, order: orders.ModelOrder) -> None:
        match order:
            case orders.LoadModel():
                self.load(order.model_id)
            case orders.UnloadModel():
                self._set(order.model_id, place="disk")
            case orders.Annotate():
                if "\x00" in order.note:
                    raise InvalidRequest(Problem("note", repr(order.note), "text"))
                self._set(order.model_id, note=order.note)
            case orders.CorrectPrediction():
                kind = order.prediction_type
                self._set(order.model_id, prediction_type=kind or "epsilon", prediction_corrected=kind is not None)
            case orders.ChooseVae():
                self.choose_vae(order.model_id, order.source_id)
            case orders.ConvertModel():
                self.convert(order.model_id)
            case orders.MergeModels():
                self.merge(order)
            case orders.StopMerge():
                self.merges = [replace(one, state="cancelled", fraction=None) for one in self.merges]
            case orders.DownloadFiles():
                self.download(order)
            case orders.AddByLink():
                if not order.link.startswith("https://"):
                    raise InvalidRequest(Problem("link", repr(order.link), "an address that begins with https://"))
                self.download(orders.DownloadFiles(repository="civitai.com/models/7", files=("dream.safetensors",)))
            case orders.CancelDownload():
                self.fetched = [replace(d, state="cancelled", message="Cancelled.") for d in self.fetched]

    def load(self, model_id: str) -> None:
        if self._get(model_id).state != "usable":
            raise Refused(self._get(model_id).reason)
        for other in [m for m in self.all.values() if m.place == "device"]:
            self._set(other.id, place="ram")
        self._set(model_id, place="device")

    def memory(self) -> MemoryUse:
        on_device = sum(m.size_bytes for m in self.all.values() if m.place == "device")
        in_ram = sum(m.size_bytes for m in self.all.values() if m.place == "ram")
        return MemoryUse(
            device_label="Fake 24 GB", device_models=on_device, device_limit=16 * GIB, device_free=20 * GIB,
            device_total=24 * GIB, ram_models=in_ram, ram_limit=32 * GIB, ram_free=40 * GIB, ram_total=64 * GIB,
        )  # fmt: skip

    def choose_vae(self, model_id: str, source_id: str | None) -> None:
        own = "vae" in self._get(model_id).facts.parts
        state, reason = ("usable", "") if source_id or own else ("incomplete", "There is no VAE with it.")
        self._set(model_id, vae=source_id or "", state=state, reason=reason)

    def convert(self, model_id: str) -> None:
        """To the middle of the way; a second time to its end."""
        name = f"{self._get(model_id).name}.ckpt"
        if not self.converted:
            self.converted = [Conversion(id=model_id, name=name, state="running", fraction=0.5)]

    def merge(self, order: orders.MergeModels) -> None:
        """To the middle of the way."""
        first, second = (self._get(one).name for one in order.model_ids[:2])
        if not 0 <= order.weight <= 1:
            raise InvalidRequest(Problem("weight", repr(order.weight), "numbers from 0 to 1"))
        recipe = f"{1 - order.weight:g}({first}) + {order.weight:g}({second})"
        name = order.name or recipe
        self.merges.insert(0, Merge(id="m1", name=name, recipe=recipe, state="running", fraction=0.5))

    def picture(self, model_id: str) -> bytes | None:
        model = self.all.get(model_id)
        if model is None or not model.has_picture:
            return None
        out = io.BytesIO()
        Image.linear_gradient("L").resize((96, 96)).convert("RGB").save(out, "JPEG")
        return out.getvalue()

    def repository(self, repository: str, *, token: str | None = None) -> tuple[HubFile, ...]:
        if repository == "gated/one" and token != "secret":
            raise Refused("gated/one is gated. Give a token.")
        return (
            HubFile(path="small.safetensors", size=2 * GIB, suggested=True),
            HubFile(path="big.safetensors", size=4 * GIB),
        )

    def download(self, order: orders.DownloadFiles) -> None:
        self.fetched.insert(
            0,
            Download(
                id="d1", repository=order.repository, files=order.files, kind=order.kind, state="running",
                done_bytes=GIB, total_bytes=2 * GIB, bytes_per_second=50 * 2**20, seconds_left=20.5,
            ),
        )  # fmt: skip

    def _get(self, model_id: str) -> Model:
        if model_id not in self.all:
            raise NoSuchModel("This model is not in the models folders any more.")
        return self.all[model_id]

    def _set(self, model_id: str, **changes: object) -> None:
        self.all[model_id] = replace(self._get(model_id), **changes)  # type: ignore[arg-type]
