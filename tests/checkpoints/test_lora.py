"""LoRA and LoCon files in kohya's and diffusers' names do what diffusers does with them, and leave no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.lora_file import load_adapter
from studio.diffusion.components import Components
from studio.diffusion.lora import AppliedAdapter, apply_adapters
from studio.families import configs
from studio.families.registry import FAMILIES
from tests.checkpoints.original import text_encoders, tiny_family, unet_to_original

CROSS = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
OUT = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"
TEXT = "encoder.layers.0.self_attn.q_proj"


def components(family: Any = "sd1") -> Components:
    modules = tiny_family(family)
    return Components(
        name="tiny",
        family=FAMILIES[family],
        unet=modules["unet"],
        vae=modules["vae"],
        text_encoders=text_encoders(FAMILIES[family], modules),
        scheduler_config=configs.family_config(FAMILIES[family], "scheduler"),
        prediction_type="epsilon",
        device=torch.device("cpu"),
        dtype=torch.float32,
        native_width=64,
        native_height=64,
    )


def factors(module: Any, rank: int = 2, mid: bool = False) -> dict[str, torch.Tensor]:
    """Random factors for a module, as (down, up[, mid])."""
    shape = module.weight.shape
    found = {
        "down": torch.randn(rank, *shape[1:]) * 0.3,
        "up": torch.randn(shape[0], rank, *[1] * (len(shape) - 2)) * 0.3,
    }
    if mid:
        found |= {"down": torch.randn(rank, shape[1], 1, 1), "mid": torch.randn(rank, rank, *shape[2:]) * 0.3}
    return found


def kohya(names: dict[str, tuple[str, dict[str, torch.Tensor]]], alpha: float) -> dict[str, torch.Tensor]:
    found = {}
    for prefix, given in names.values():
        found |= {f"{prefix}.lora_{what}.weight": tensor.contiguous() for what, tensor in given.items()}
        found[f"{prefix}.alpha"] = torch.tensor(alpha)
    return found


@pytest.fixture
def tiny() -> Components:
    torch.manual_seed(3)
    return components()


@torch.inference_mode()
def answers(c: Components) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    sample, embeds = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 77, 64, generator=generator)
    ids = torch.arange(77)[None]
    return [c.unet(sample, torch.tensor(500), embeds)[0], c.part("text_encoder")(ids)[0]]


def some_kohya(c: Components) -> dict[str, torch.Tensor]:
    return kohya(
        {
            CROSS: (f"lora_unet_{CROSS.replace('.', '_')}", factors(c.unet.get_submodule(CROSS))),
            OUT: (f"lora_unet_{OUT.replace('.', '_')}", factors(c.unet.get_submodule(OUT))),
            CONV: (f"lora_unet_{CONV.replace('.', '_')}", factors(c.unet.get_submodule(CONV))),
            TEXT: (f"lora_te_text_model_{TEXT.replace('.', '_')}", factors(c.part("text_encoder").get_submodule(TEXT))),
        },
        alpha=1.0,
    )


def test_a_kohya_file_does_what_diffusers_does_with_it(tiny: Components, tmp_path: Path) -> None:
    tensors = some_kohya(tiny)
    save_file(tensors, tmp_path / "style.safetensors")
    adapter = load_adapter(tmp_path / "style.safetensors", tiny)
    assert {part: set(f) for part, f in adapter.factors.items()} == {"unet": {CROSS, OUT, CONV}, "text_encoder": {TEXT}}
    with apply_adapters(tiny, [AppliedAdapter(adapter, 0.7, 0.4)]):
        ours = answers(tiny)
    pipeline = StableDiffusionPipeline(
        vae=tiny.vae, text_encoder=tiny.part("text_encoder"),
        tokenizer=tiny.text_encoders[0].tokenizer, unet=tiny.unet, scheduler=None,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.load_lora_weights({k: v for k, v in tensors.items() if "unet" in k}, adapter_name="style")
    pipeline.set_adapters(["style"], [0.7])
    assert torch.allclose(ours[0], answers(tiny)[0], atol=2e-6), (ours[0] - answers(tiny)[0]).abs().max()
    q, given = tiny.part("text_encoder").get_submodule(TEXT), adapter.factors["text_encoder"][TEXT]
    q.weight.data += 0.4 * 1.0 / 2 * given.up @ given.down  # diffusers does not know transformers' new names here
    assert torch.allclose(ours[1], answers(tiny)[1], atol=1e-5)


def test_it_is_taken_off_without_a_trace_and_changed_between_two_calls(tiny: Components, tmp_path: Path) -> None:
    save_file(some_kohya(tiny), tmp_path / "one.safetensors")
    save_file(some_kohya(tiny), tmp_path / "two.safetensors")
    one, two = (load_adapter(tmp_path / f"{name}.safetensors", tiny) for name in ("one", "two"))
    before = answers(tiny)
    seen = []
    for chosen in (
        [AppliedAdapter(one)],
        [AppliedAdapter(two)],
        [AppliedAdapter(one), AppliedAdapter(two, 0.5, 0.5)],
        [AppliedAdapter(one, 0.0, 1.0)],
    ):
        with apply_adapters(tiny, chosen):
            seen.append(answers(tiny))
        assert all(torch.equal(a, b) for a, b in zip(answers(tiny), before))
    changed = [not torch.equal(s[0], before[0]) for s in seen]
    assert changed == [True, True, True, False]
    assert not torch.equal(seen[3][1], before[1]), "the text encoder's part alone was asked for"
    assert not torch.equal(seen[0][0], seen[1][0])
    assert not tiny.unet.get_submodule(CROSS)._forward_hooks


def test_several_add_up(tiny: Components, tmp_path: Path) -> None:
    """Half of it twice is the whole of it."""
    save_file(some_kohya(tiny), tmp_path / "one.safetensors")
    one = load_adapter(tmp_path / "one.safetensors", tiny)
    with apply_adapters(tiny, [AppliedAdapter(one)]):
        whole = answers(tiny)
    with apply_adapters(tiny, [AppliedAdapter(one, 0.5, 0.5), AppliedAdapter(one, 0.5, 0.5)]):
        halves = answers(tiny)
    assert all(float((a - b).abs().max()) < 1e-3 * float(a.abs().max()) for a, b in zip(whole, halves))


@pytest.mark.parametrize("form", ["peft", "attention processor", "linear layer"])
def test_diffusers_names(tiny: Components, tmp_path: Path, form: str) -> None:
    given, text = factors(tiny.unet.get_submodule(CROSS)), factors(tiny.part("text_encoder").get_submodule(TEXT))
    down, up = given["down"], given["up"]
    if form == "peft":
        tensors = {f"unet.{CROSS}.lora_A.weight": down, f"unet.{CROSS}.lora_B.weight": up}
        tensors |= {f"text_encoder.text_model.{TEXT}.lora_A.weight": text["down"]}
        tensors |= {f"text_encoder.text_model.{TEXT}.lora_B.weight": text["up"]}
    elif form == "attention processor":
        start = CROSS.removesuffix(".to_k")
        tensors = {f"unet.{start}.processor.to_k_lora.down.weight": down}
        tensors |= {f"unet.{start}.processor.to_k_lora.up.weight": up}
    else:
        tensors = {f"unet.{CROSS}.lora.down.weight": down, f"unet.{CROSS}.lora.up.weight": up}
        tensors |= {f"text_encoder.text_model.{TEXT}.lora_linear_layer.down.weight": text["down"]}
        tensors |= {f"text_encoder.text_model.{TEXT}.lora_linear_layer.up.weight": text["up"]}
    save_file({k: v.contiguous() for k, v in tensors.items()}, tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", tiny)
    found = adapter.factors["unet"][CROSS]
    assert torch.equal(found.down, down)
    assert torch.equal(found.up, up)
    assert found.alpha == found.rank == 2
    assert ("text_encoder" in adapter.factors) == (form != "attention processor")


def test_locon_with_a_middle_is_the_product_of_its_factors(tiny: Components, tmp_path: Path) -> None:
    module = tiny.unet.get_submodule(CONV)
    given = factors(module, rank=3, mid=True)
    save_file(kohya({CONV: (f"lora_unet_{CONV.replace('.', '_')}", given)}, alpha=1.5), tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", tiny)
    x = torch.randn(1, module.weight.shape[1], 6, 6)
    weight = torch.einsum("or,rskl,si->oikl", given["up"][..., 0, 0], given["mid"], given["down"][..., 0, 0])
    wanted = torch.nn.functional.conv2d(x, module.weight + weight * 0.5 * 1.5 / 3, module.bias, padding=1)
    with apply_adapters(tiny, [AppliedAdapter(adapter, 0.5)]), torch.inference_mode():
        assert torch.allclose(module(x), wanted, atol=1e-4)


def test_kohyas_sdxl_names_are_those_of_the_original_layout(tmp_path: Path) -> None:
    torch.manual_seed(4)
    xl = components("sdxl")
    wanted = {
        name.removesuffix(".weight"): value
        for name, value in xl.unet.state_dict().items()
        if name.endswith(".weight") and value.ndim in (2, 4)
    }
    original = [name.removesuffix(".weight") for name in unet_to_original(xl.unet) if name.endswith(".weight")]
    original = [
        n
        for n, v in zip(original, (v for k, v in unet_to_original(xl.unet).items() if k.endswith(".weight")))
        if v.ndim in (2, 4)
    ]
    tensors = {}
    for name, weight in zip(original, wanted.values()):
        prefix = f"lora_unet_{name.replace('.', '_')}"
        tensors[f"{prefix}.lora_down.weight"] = torch.zeros(1, *weight.shape[1:])
        tensors[f"{prefix}.lora_up.weight"] = torch.zeros(weight.shape[0], 1, *[1] * (weight.ndim - 2))
    te2 = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
    tensors |= {f"{te2}.lora_down.weight": torch.zeros(1, 128), f"{te2}.lora_up.weight": torch.zeros(256, 1)}
    save_file(tensors, tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", xl)
    assert set(adapter.factors["unet"]) == set(wanted)
    assert set(adapter.factors["text_encoder_2"]) == {"text_model.encoder.layers.0.mlp.fc1"}
    assert adapter.notes == ()


def test_a_lora_of_another_family_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xl_file, tiny = tmp_path / "xl.safetensors", components()
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    save_file(
        {f"{name}.lora_down.weight": torch.zeros(4, 2048), f"{name}.lora_up.weight": torch.zeros(640, 4)}, xl_file
    )
    with pytest.raises(BadCheckpoint, match=r"xl\.safetensors does not fit|xl\.safetensors is a LoRA for SDXL"):
        load_adapter(xl_file, tiny)
    monkeypatch.setattr("studio.checkpoints.lora_file._narrow", lambda components: False)  # as a full-width SD 1
    with pytest.raises(BadCheckpoint, match=r"xl\.safetensors is a LoRA for SDXL; tiny is SD 1"):
        load_adapter(xl_file, tiny)


def test_a_wrong_shape_and_what_fits_nothing_are_told(tiny: Components, tmp_path: Path) -> None:
    flat = f"lora_unet_{CROSS.replace('.', '_')}"
    save_file(
        {f"{flat}.lora_down.weight": torch.zeros(2, 7), f"{flat}.lora_up.weight": torch.zeros(32, 2)},
        tmp_path / "x.safetensors",
    )
    with pytest.raises(BadCheckpoint, match="would need 32x64, the LoRA has 32x7"):
        load_adapter(tmp_path / "x.safetensors", tiny)
    extra = {
        "lora_unet_elsewhere.lora_down.weight": torch.zeros(2, 7),
        "lora_unet_elsewhere.lora_up.weight": torch.zeros(7, 2),
    }
    save_file(some_kohya(tiny) | extra, tmp_path / "y.safetensors")
    [note] = load_adapter(tmp_path / "y.safetensors", tiny).notes
    assert note.startswith("2 tensors of the LoRA y.safetensors fit nothing")
    save_file({"something": torch.zeros(2, 2, 2)}, tmp_path / "z.safetensors")
    with pytest.raises(BadCheckpoint, match=r"z\.safetensors is no LoRA"):
        load_adapter(tmp_path / "z.safetensors", tiny)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t | {"down": torch.full((2, 64), float("nan"))}, "x.safetensors holds values that are not numbers"),
        (lambda t: t | {"up": torch.full((32, 2), float("inf"))}, "x.safetensors holds values that are not numbers"),
        (lambda t: {"down": torch.zeros(0, 64), "up": torch.zeros(32, 0)}, "a tensor of down_blocks.* is empty"),
    ],
)
def test_damaged_factors_are_named_before_a_run(tiny: Components, tmp_path: Path, change: Any, said: str) -> None:
    """At the end of a run the model would be blamed for them."""
    tensors = change({"down": torch.zeros(2, 64), "up": torch.zeros(32, 2)})
    begin = f"lora_unet_{CROSS.replace('.', '_')}"
    save_file({f"{begin}.lora_{what}.weight": t for what, t in tensors.items()}, tmp_path / "x.safetensors")
    with pytest.raises(BadCheckpoint, match=said):
        load_adapter(tmp_path / "x.safetensors", tiny)


def test_an_alpha_that_is_no_number_is_named(tiny: Components, tmp_path: Path) -> None:
    begin = f"lora_unet_{CROSS.replace('.', '_')}"
    tensors = {f"{begin}.lora_down.weight": torch.zeros(2, 64), f"{begin}.lora_up.weight": torch.zeros(32, 2)}
    save_file(tensors | {f"{begin}.alpha": torch.tensor(float("nan"))}, tmp_path / "x.safetensors")
    with pytest.raises(BadCheckpoint, match="holds values that are not numbers"):
        load_adapter(tmp_path / "x.safetensors", tiny)
