"""Every naming of adapters that other programs write means the same as the plain one, on the same weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import save_file

from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.lora_file import load_adapter
from studio.checkpoints.lora_names import parse_key
from studio.diffusion.components import Components
from studio.diffusion.lora import AppliedAdapter, Factors, apply_adapters
from tests.checkpoints.original import unet_to_original
from tests.checkpoints.test_lora import CROSS, OUT, TEXT, answers, components

PARTS = ("unet", "text_encoder", "text_encoder_2")
Name = Callable[[str, str, Mapping[str, str]], str]  # part, module, the U-Net's original names => beginning of a key


def full(part: str, module: str) -> str:
    """A module's name as files have it; transformers calls the first text encoder's modules by shorter ones today."""
    whole = part == "unet" or module.startswith("text_model.") or module == "text_projection"
    return module if whole else f"text_model.{module}"


def kohya(part: str, module: str, original: Mapping[str, str]) -> str:
    begin = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    return begin[part] + full(part, module).replace(".", "_")


def kohya_original(part: str, module: str, original: Mapping[str, str]) -> str:
    module = original[module] if part == "unet" else module
    return kohya(part, module, original)


def text(beginning: Mapping[str, str]) -> Callable[[str, str], str]:
    return lambda part, module: beginning[part] + full(part, module)


COMFY = {"text_encoder": "text_encoders.clip_l.transformer.", "text_encoder_2": "text_encoders.clip_g.transformer."}
CLIP = {"text_encoder": "clip_l.", "text_encoder_2": "clip_g."}
CLIP_OF = {"text_encoder": "clip_l.transformer.", "text_encoder_2": "clip_g.transformer."}
DOTTED = {"text_encoder": "lora_te1.", "text_encoder_2": "lora_te2."}

NAMINGS: dict[str, Name] = {
    "kohya": kohya,
    "kohya, original layout": kohya_original,
    "diffusers": lambda part, module, _: f"{part}.{full(part, module)}",
    "peft inside diffusers": lambda part, module, _: f"{part}.base_model.model.{module}",
    "peft around diffusers": lambda part, module, _: f"base_model.model.{part}.{module}",
    "ComfyUI": lambda p, m, o: f"diffusion_model.{o[m]}" if p == "unet" else text(COMFY)(p, m),
    "as in a checkpoint": lambda p, m, o: f"model.diffusion_model.{o[m]}" if p == "unet" else text(CLIP_OF)(p, m),
    "OneTrainer": lambda p, m, _: f"unet.{m}" if p == "unet" else text(CLIP)(p, m),
    "OneTrainer, original layout": lambda p, m, o: f"unet.{o[m]}" if p == "unet" else text(CLIP)(p, m),
    "dotted": lambda p, m, _: f"lora_unet.{m}" if p == "unet" else text(DOTTED)(p, m),
    "compiled": lambda p, m, _: f"{p}._orig_mod.{m}",
}  # fmt: skip
ALONE: dict[str, Name] = {  # of one module at a time
    "peft": lambda part, module, _: f"base_model.model.{full(part, module)}",
    "lycoris": lambda p, m, _: f"lycoris_{full(p, m).replace('.', '_')}",
    "no beginning": lambda part, module, _: full(part, module),
    "no beginning, original layout": lambda p, m, o: o[m] if p == "unet" else full(p, m),
}
ENDINGS = {
    "kohya": ("lora_down.weight", "lora_up.weight"),
    "peft": ("lora_A.weight", "lora_B.weight"),
    "peft, named": ("lora_A.style_0.weight", "lora_B.style_0.weight"),
    "diffusers": ("lora.down.weight", "lora.up.weight"),
    "of a linear layer": ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
}


@pytest.fixture(scope="module", params=["sd1", "sdxl", "sdxl_refiner"])
def tiny(request: pytest.FixtureRequest) -> Components:
    torch.manual_seed(3)
    return components(request.param)


def original_names(tiny: Components) -> dict[str, str]:
    """diffusers' names of the U-Net's modules => the original ones."""
    pairs = zip(tiny.unet.state_dict(), unet_to_original(tiny.unet))
    return {new.rpartition(".")[0]: old.rpartition(".")[0] for new, old in pairs}


def factors_of(tiny: Components, parts: tuple[str, ...]) -> dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]]:
    """(down, up) for every linear layer and convolution."""
    generator = torch.Generator().manual_seed(7)
    found = {}
    for part in parts:
        for name, module in tiny.part(part).named_modules() if part in tiny.parts else ():
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                shape = module.weight.shape
                down = torch.randn(2, *shape[1:], generator=generator)
                found[part, name] = down, torch.randn(shape[0], 2, *[1] * (len(shape) - 2), generator=generator)
    return found


def check(tiny: Components, file: Path, naming: Name, ending: tuple[str, str], parts: tuple[str, ...]) -> None:
    original, expected = original_names(tiny), factors_of(tiny, parts)
    tensors = {}
    for (part, name), pair in expected.items():
        for what, tensor in zip(ending, pair):
            tensors[f"{naming(part, name, original)}.{what}"] = tensor
    save_file(tensors, file)
    facts = identify(file)
    assert (facts.kind, facts.parts) == ("lora", tuple(p for p in PARTS if any(part == p for part, _ in expected)))
    adapter = load_adapter(file, tiny)
    assert adapter.notes == ()
    made = {(part, name): delta for part, deltas in adapter.factors.items() for name, delta in deltas.items()}
    assert made.keys() == expected.keys()
    for place, (down, up) in expected.items():
        delta = made[place]
        assert isinstance(delta, Factors)
        assert torch.equal(delta.down, down)
        assert torch.equal(delta.up, up)
        assert delta.alpha == 2


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_is_the_plain_one(tiny: Components, tmp_path: Path, naming: str) -> None:
    ending = ENDINGS["kohya" if "kohya" in naming or naming == "dotted" else "peft"]
    check(tiny, tmp_path / "x.safetensors", NAMINGS[naming], ending, PARTS)


@pytest.mark.parametrize("naming", ALONE)
@pytest.mark.parametrize("part", PARTS)
def test_a_naming_without_a_part_is_that_of_the_module_that_it_names(
    tiny: Components, tmp_path: Path, naming: str, part: str
) -> None:
    if part not in tiny.parts:
        pytest.skip("this family has no such part")
    if part == "text_encoder_2":  # the header alone cannot tell it from the first
        tensors = {}
        for (_, name), pair in factors_of(tiny, (part,)).items():
            begin = ALONE[naming](part, name, {})
            tensors |= {f"{begin}.{end}": tensor for end, tensor in zip(ENDINGS["peft"], pair)}
        save_file(tensors, tmp_path / "x.safetensors")
        assert set(load_adapter(tmp_path / "x.safetensors", tiny).factors) == {part}
        return
    check(tiny, tmp_path / "x.safetensors", ALONE[naming], ENDINGS["peft"], (part,))


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_the_plain_one(tmp_path: Path, ending: str) -> None:
    torch.manual_seed(3)
    tiny = components("sd1")
    naming = NAMINGS["diffusers"]
    check(tiny, tmp_path / "x.safetensors", naming, ENDINGS[ending], ("unet", "text_encoder"))


@pytest.mark.parametrize(
    ("width", "text_width", "family"),
    [(768, 768, "sd1"), (1024, 1024, "sd2"), (2048, 1280, "sdxl"), (1280, 1280, "sdxl_refiner")],
)
def test_the_family_is_told_in_every_naming(tmp_path: Path, width: int, text_width: int, family: str) -> None:
    module = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    original = {module: "input_blocks.4.1.transformer_blocks.0.attn2.to_k"}
    for naming in (*NAMINGS.values(), *ALONE.values()):
        for down, up in ENDINGS.values():
            begin = naming("unet", module, original)
            tensors = {f"{begin}.{down}": torch.zeros(2, width), f"{begin}.{up}": torch.zeros(32, 2)}
            save_file(tensors, tmp_path / "x.safetensors")
            facts = identify(tmp_path / "x.safetensors")
            assert (facts.kind, facts.family, facts.reason) == ("lora", family, ""), begin


# -------------------------------------------------------------------------------------------------- the scale of peft


def alone(c: Components) -> torch.Tensor:
    return answers(c)[0]


@pytest.mark.parametrize("where", ["metadata", "config"])
@pytest.mark.parametrize("rslora", [False, True])
def test_the_scale_of_peft_is_obeyed(tmp_path: Path, where: str, rslora: bool) -> None:
    """As peft itself runs it: lora_alpha 6 at rank 2 is three times as strong as a file that says nothing."""
    torch.manual_seed(3)
    tiny = components("sd1")
    before = alone(tiny)
    config = LoraConfig(r=2, lora_alpha=6, target_modules=[CROSS, OUT], alpha_pattern={OUT: 1}, use_rslora=rslora)
    inject_adapter_in_model(config, tiny.unet)
    generator = torch.Generator().manual_seed(4)
    tensors = {}
    for name, value in tiny.unet.named_parameters():
        if ".lora_" in name:
            value.data = torch.randn(value.shape, generator=generator)
            tensors[f"unet.{name.replace('.default', '')}"] = value.data.clone()
    theirs = alone(tiny)
    torch.manual_seed(3)
    tiny = components("sd1")
    values = {"r": 2, "lora_alpha": 6, "alpha_pattern": {OUT: 1}, "rank_pattern": {}, "use_rslora": rslora}
    if where == "metadata":
        metadata = {"lora_adapter_metadata": json.dumps({f"unet.{name}": value for name, value in values.items()})}
        save_file(tensors, tmp_path / "x.safetensors", metadata=metadata)
        file = tmp_path / "x.safetensors"
    else:
        file = tmp_path / "adapter_model.safetensors"
        save_file({k.replace("unet.", "base_model.model."): v for k, v in tensors.items()}, file)
        (tmp_path / "adapter_config.json").write_text(json.dumps(values))
    adapter = load_adapter(file, tiny)
    scale = adapter.factors["unet"][CROSS]
    assert isinstance(scale, Factors)
    assert scale.alpha / scale.rank == pytest.approx(6 / math.sqrt(2) if rslora else 3)
    with apply_adapters(tiny, [AppliedAdapter(adapter)]):
        ours = alone(tiny)
    assert not torch.allclose(ours, before, atol=1e-3)
    assert torch.allclose(ours, theirs, atol=1e-5), (ours - theirs).abs().max()


def test_scales_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    torch.manual_seed(3)
    tiny = components("sd1")
    pair = {f"unet.{CROSS}.lora_A.weight": torch.zeros(2, 64), f"unet.{CROSS}.lora_B.weight": torch.zeros(32, 2)}
    for text in ("[1", "[]", '{"unet.lora_alpha": "x"}', '{"unet.alpha_pattern": {"(a+)+$": 3}}', "[" * 100_000):
        save_file(pair, tmp_path / "x.safetensors", metadata={"lora_adapter_metadata": text})
        factors = load_adapter(tmp_path / "x.safetensors", tiny).factors["unet"][CROSS]
        assert isinstance(factors, Factors)
        assert factors.alpha == 2


# ------------------------------------------------------------------------------------------------------- what is left


def test_a_second_adapter_in_one_file_is_said(tmp_path: Path) -> None:
    torch.manual_seed(3)
    tiny = components("sd1")
    tensors: dict[str, Any] = {}
    for adapter in ("one", "two"):
        tensors[f"unet.{CROSS}.lora_A.{adapter}.weight"] = torch.zeros(2, 64)
        tensors[f"unet.{CROSS}.lora_B.{adapter}.weight"] = torch.zeros(32, 2)
    save_file(tensors, tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", tiny)
    assert set(adapter.factors["unet"]) == {CROSS}
    assert adapter.notes[0].startswith("2 tensors of the LoRA x.safetensors fit nothing in the model")


def test_a_file_of_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    save_file({"unet.x.lora_A.weight": torch.zeros(2, 64)}, tmp_path / "x.safetensors")
    with pytest.raises(BadCheckpoint, match="does not fit tiny"):
        load_adapter(tmp_path / "x.safetensors", components("sd1"))


@pytest.mark.parametrize(
    "key", ["", ".", "weight", "a.b.weight", "lora_unet_x.lora_down", "x.lora_A.a.b.weight", "x.alpha.y"]
)
def test_a_name_that_is_none_is_none(key: str) -> None:
    assert parse_key(key) is None


def test_a_text_encoder_of_the_plain_name_stays_the_first(tmp_path: Path) -> None:
    torch.manual_seed(3)
    tiny = components("sd1")
    save_file({f"lora_te_text_model_{TEXT.replace('.', '_')}.lora_down.weight": torch.zeros(2, 64),
               f"lora_te_text_model_{TEXT.replace('.', '_')}.lora_up.weight": torch.zeros(64, 2)},
              tmp_path / "x.safetensors")  # fmt: skip
    assert set(load_adapter(tmp_path / "x.safetensors", tiny).factors) == {"text_encoder"}
