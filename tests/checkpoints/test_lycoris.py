"""LoHa, LoKr and DoRA files do what peft does with the same numbers."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import save_file

from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.lora_file import load_adapter
from studio.diffusion.components import Components
from studio.diffusion.lora import AppliedAdapter, apply_adapters
from studio.diffusion.lycoris import Kronecker, Product, WeightDecomposition
from tests.checkpoints.test_lora import CONV, CROSS, OUT, components

RANK, ALPHA = 2, 3.0
SHORTCUT = "up_blocks.0.resnets.0.conv_shortcut"  # a 1x1 convolution
TARGETS = (CROSS, OUT, CONV, SHORTCUT)
LORA = {"r": RANK, "lora_alpha": ALPHA, "target_modules": list(TARGETS), "use_dora": True}
KIN = {"r": RANK, "alpha": ALPHA, "target_modules": list(TARGETS)}
FORMS: dict[str, Any] = {
    "loha": peft.LoHaConfig(**KIN),
    "loha with cores": peft.LoHaConfig(**KIN, use_effective_conv2d=True),
    "lokr": peft.LoKrConfig(**KIN, decompose_both=True),
    "lokr with a whole left": peft.LoKrConfig(**KIN),
    "lokr with cores": peft.LoKrConfig(**KIN, use_effective_conv2d=True, decompose_factor=4),
    "dora": peft.LoraConfig(**LORA),
}
KINDS = {"loha": Product, "lokr": Kronecker, "dora": WeightDecomposition}
NAMES = {"lora_A": "lora_down.weight", "lora_B": "lora_up.weight"}


@pytest.fixture(scope="module")
def tiny() -> Components:
    torch.manual_seed(3)
    return components()


def with_numbers(tiny: Components, config: Any) -> Any:
    """A copy of the U-Net with peft's adapter in it, all of its numbers drawn."""
    unet = copy.deepcopy(tiny.unet)
    peft.inject_adapter_in_model(config, unet)
    generator = torch.Generator().manual_seed(8)
    for name, value in unet.named_parameters():
        if ".lora_A." in name or ".lora_B." in name or ".hada_" in name or ".lokr_" in name:
            value.data = torch.randn(value.shape, generator=generator) * 0.4
        elif "magnitude" in name:
            value.data = value.data * (0.7 + 0.6 * torch.rand(value.shape, generator=generator))
    return unet.eval()


def kohya(unet: Any) -> dict[str, torch.Tensor]:
    """The adapter's numbers by the names of kohya's and LyCORIS' files."""
    found: dict[str, torch.Tensor] = {}
    for target in TARGETS:
        start = f"lora_unet_{target.replace('.', '_')}"
        layer = unet.get_submodule(target)
        found[f"{start}.alpha"] = torch.tensor(ALPHA)
        for name, value in layer.named_parameters():
            what = name.split(".")[0]
            if what == "lora_magnitude_vector":
                out = layer.base_layer.weight.shape[0]
                found[f"{start}.dora_scale"] = value.reshape(out, *[1] * (layer.base_layer.weight.ndim - 1))
            elif what != "base_layer":
                found[f"{start}.{NAMES.get(what, what)}"] = value
    return {name: value.detach().clone().contiguous() for name, value in found.items()}


@torch.inference_mode()
def answer(unet: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    sample, embeds = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 77, 64, generator=generator)
    return torch.as_tensor(unet(sample.to(unet.dtype), torch.tensor(500), embeds.to(unet.dtype))[0])


@pytest.mark.parametrize("form", FORMS)
def test_a_file_does_what_peft_does(tiny: Components, tmp_path: Path, form: str) -> None:
    # In double precision: peft divides activations by DoRA's lengths and we the weights; float32 rounds these apart.
    tiny = dataclasses.replace(tiny, unet=copy.deepcopy(tiny.unet).double(), dtype=torch.float64)
    theirs = with_numbers(tiny, FORMS[form])
    file = tmp_path / "style.safetensors"
    save_file(kohya(theirs), file)
    assert identify(file).kind == "lora"
    before, wanted = answer(tiny.unet), answer(theirs)
    adapter = load_adapter(file, tiny)
    assert {type(delta) for delta in adapter.factors["unet"].values()} == {KINDS[form.split()[0]]}
    assert set(adapter.factors["unet"]) == set(TARGETS)
    assert adapter.notes == ()
    with apply_adapters(tiny, [AppliedAdapter(adapter)]):
        ours = answer(tiny.unet)
    assert float((wanted - before).abs().max()) > 0.01, "it changes something"
    assert torch.allclose(ours, wanted, atol=1e-5, rtol=1e-4), float((ours - wanted).abs().max())
    assert torch.equal(answer(tiny.unet), before), "and is gone without a trace"


@pytest.mark.parametrize("form", ["loha", "lokr"])
def test_half_of_it_twice_is_the_whole(tiny: Components, tmp_path: Path, form: str) -> None:
    save_file(kohya(with_numbers(tiny, FORMS[form])), tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", tiny)
    with apply_adapters(tiny, [AppliedAdapter(adapter)]):
        whole = answer(tiny.unet)
    with apply_adapters(tiny, [AppliedAdapter(adapter, 0.5), AppliedAdapter(adapter, 0.5)]):
        halves = answer(tiny.unet)
    assert torch.allclose(whole, halves, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [CROSS, CONV])
@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_dora_brings_rows_or_columns_to_their_lengths(
    tiny: Components, tmp_path: Path, name: str, by_row: bool, strength: float
) -> None:
    """By the definition: (W + BA) / |W + BA| * m, of which `strength` of the way is gone from W."""
    module = tiny.unet.get_submodule(name)
    weight, start = module.weight, f"lora_unet_{name.replace('.', '_')}"
    generator = torch.Generator().manual_seed(2)
    ones = [1] * (weight.ndim - 2)
    down = torch.randn(RANK, *weight.shape[1:], generator=generator) * 0.3
    up = torch.randn(weight.shape[0], RANK, *ones, generator=generator) * 0.3
    channels = weight.shape[0 if by_row else 1]
    lengths = torch.rand(channels, generator=generator) + 0.5
    shape = (channels, 1, *ones) if by_row else (1, channels, *ones)
    tensors = {"lora_down.weight": down, "lora_up.weight": up, "dora_scale": lengths.reshape(shape),
               "alpha": torch.tensor(ALPHA)}  # fmt: skip
    save_file({f"{start}.{key}": value for key, value in tensors.items()}, tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", tiny)
    whole = weight + torch.tensordot(up.flatten(1), down, dims=1) * (ALPHA / RANK)
    axes = [k for k in range(weight.ndim) if k != (0 if by_row else 1)]
    new = whole / whole.square().sum(axes, keepdim=True).sqrt() * lengths.reshape(shape)
    new = weight + strength * (new - weight)
    x = torch.randn(2, weight.shape[1], *([6, 6] if ones else []), generator=generator)
    with torch.inference_mode():
        if ones:
            wanted = torch.nn.functional.conv2d(x, new, module.bias, padding=1)
        else:
            wanted = torch.nn.functional.linear(x, new, module.bias)
        with apply_adapters(tiny, [AppliedAdapter(adapter, strength)]):
            assert torch.allclose(module(x), wanted, atol=1e-5, rtol=1e-4)


def test_lokr_of_two_whole_factors_has_no_alpha(tiny: Components, tmp_path: Path) -> None:
    weight, start = tiny.unet.get_submodule(CROSS).weight, f"lora_unet_{CROSS.replace('.', '_')}"
    left, right = torch.randn(4, 2), torch.randn(weight.shape[0] // 4, weight.shape[1] // 2)
    tensors = {"lokr_w1": left, "lokr_w2": right, "alpha": torch.tensor(7.0)}
    save_file({f"{start}.{key}": value for key, value in tensors.items()}, tmp_path / "x.safetensors")
    delta = load_adapter(tmp_path / "x.safetensors", tiny).factors["unet"][CROSS]
    torch.testing.assert_close(delta.dense(), torch.kron(left, right))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"hada_w1_a": (32, 2), "hada_w1_b": (2, 7), "hada_w2_a": (32, 2), "hada_w2_b": (2, 7)}, "32x64, .* has 32x7"),
        ({"lokr_w1": (4, 4), "lokr_w2": (3, 5)}, "32x64, the LoRA has 12x20"),
        ({"lora_down.weight": (2, 64), "lora_up.weight": (32, 2), "dora_scale": (5, 1)}, r"dora_scale\) of .* has 5x1"),
    ],
)
def test_what_does_not_fit_is_told(
    tiny: Components, tmp_path: Path, tensors: dict[str, tuple[int, ...]], said: str
) -> None:
    start = f"lora_unet_{CROSS.replace('.', '_')}"
    save_file({f"{start}.{key}": torch.zeros(shape) for key, shape in tensors.items()}, tmp_path / "x.safetensors")
    with pytest.raises(BadCheckpoint, match=said):
        load_adapter(tmp_path / "x.safetensors", tiny)


def test_half_a_module_is_told_and_not_used(tiny: Components, tmp_path: Path) -> None:
    names = [f"lora_unet_{name.replace('.', '_')}" for name in (CROSS, OUT)]
    whole = {"lora_down.weight": torch.zeros(2, 64), "lora_up.weight": torch.zeros(32, 2)}
    half = {"hada_w1_a": torch.zeros(32, 2), "hada_w1_b": torch.zeros(2, 32)}
    tensors = {f"{names[0]}.{k}": v for k, v in whole.items()} | {f"{names[1]}.{k}": v for k, v in half.items()}
    save_file(tensors, tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", tiny)
    assert set(adapter.factors["unet"]) == {CROSS}
    assert "fit nothing" in adapter.notes[0]


# ----------------------------------------------------------------------------- rotations and whole differences


def cayley(blocks: torch.Tensor, constraint: float) -> torch.Tensor:
    """Rotations of blocks (..., size, size), one after the other, as LyCORIS 4.1 and kohya's scripts make them."""
    skew = blocks - blocks.transpose(-1, -2)
    if constraint and skew.norm() > constraint:
        skew = skew * constraint / skew.norm()
    one = torch.eye(skew.shape[-1])
    return (one + skew) @ torch.linalg.inv(one - skew)


def oft(weight: torch.Tensor, blocks: torch.Tensor, constraint: float) -> torch.Tensor:
    """The weight that a module has with OFT: block k of its outputs times the transposed rotation k."""
    count, size, _ = blocks.shape
    rows = weight.reshape(count, size, -1)
    turned = torch.stack([r.T @ w for r, w in zip(cayley(blocks, constraint), rows)])
    return turned.reshape(weight.shape)


def boft(weight: torch.Tensor, blocks: torch.Tensor, constraint: float) -> torch.Tensor:
    """The weight that a module has with BOFT: in stage i the rotations turn rows that lie 2^i half blocks apart."""
    _, count, size, _ = blocks.shape
    rows = weight.flatten(1)
    for stage, rotations in enumerate(cayley(blocks, constraint)):
        stride = 2**stage * (size // 2)
        order = torch.arange(len(rows)).reshape(-1, 2, stride).transpose(1, 2).flatten()
        mixed = rows[order].reshape(count, size, -1)
        turned = torch.stack([r @ m for r, m in zip(rotations, mixed)]).flatten(0, 1)
        back = torch.arange(len(rows)).reshape(-1, stride, 2).transpose(1, 2).flatten()
        rows = turned[back]
    return rows.reshape(weight.shape)


@pytest.mark.parametrize("form", ["OFT", "OFT of the first LyCORIS", "BOFT", "difference"])
@pytest.mark.parametrize("constraint", [0.0, 1e-4, 0.05])
@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_rotations_and_differences_do_what_their_weights_do(
    tiny: Components, tmp_path: Path, form: str, constraint: float, rescaled: bool, strength: float
) -> None:
    generator = torch.Generator().manual_seed(5)
    tensors: dict[str, torch.Tensor] = {}
    unet = copy.deepcopy(tiny.unet)
    for name in TARGETS:
        weight = unet.get_submodule(name).weight.data
        begin, outputs = f"lora_unet_{name.replace('.', '_')}", len(weight)
        rescale = 0.5 + torch.rand(outputs, *[1] * (weight.ndim - 1), generator=generator) if rescaled else 1.0
        if form == "difference":
            whole = weight + torch.randn(weight.shape, generator=generator) * 0.1
            tensors[f"{begin}.diff"] = whole - weight
        elif form == "BOFT":
            blocks = torch.randn(2, outputs // 8, 8, 8, generator=generator) * 0.3
            whole = boft(weight, blocks, constraint * outputs) * rescale
            tensors |= {f"{begin}.oft_blocks": blocks, f"{begin}.alpha": torch.tensor(constraint)}
        else:
            blocks = torch.randn(4, outputs // 4, outputs // 4, generator=generator) * 0.3
            whole = oft(weight, blocks, constraint * outputs) * rescale
            if form == "OFT":
                tensors |= {f"{begin}.oft_blocks": blocks, f"{begin}.alpha": torch.tensor(constraint)}
            else:
                rescale = 1.0
                rotations = cayley(blocks, 0.0)
                whole = oft(weight, blocks, 0.0)
                tensors[f"{begin}.oft_diag"] = rotations
        if rescaled and form in ("OFT", "BOFT"):
            tensors[f"{begin}.rescale"] = torch.as_tensor(rescale)
        unet.get_submodule(name).weight.data = weight + strength * (whole - weight)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", tiny)
    assert adapter.notes == ()
    for name in TARGETS:
        module, with_weight = tiny.unet.get_submodule(name), unet.get_submodule(name)
        inputs = module.weight.shape[1]
        x = torch.randn(2, inputs, 6, 6, generator=generator) if module.weight.ndim == 4 else torch.randn(2, 5, inputs)
        with torch.inference_mode(), apply_adapters(tiny, [AppliedAdapter(adapter, strength)]):
            ours = module(x)
        theirs = with_weight(x)
        assert (theirs - module(x)).abs().max() > 1e-3
        assert torch.allclose(ours, theirs, atol=1e-5), (name, (ours - theirs).abs().max())


def test_kohyas_own_beginning_of_oft_files(tiny: Components, tmp_path: Path) -> None:
    save_file({f"oft_unet_{CROSS.replace('.', '_')}.oft_blocks": torch.zeros(4, 8, 8)}, tmp_path / "x.safetensors")
    assert identify(tmp_path / "x.safetensors").kind == "lora"
    assert set(load_adapter(tmp_path / "x.safetensors", tiny).factors["unet"]) == {CROSS}


def test_the_difference_of_a_bias_is_added(tiny: Components, tmp_path: Path) -> None:
    bias = torch.linspace(-1, 1, len(tiny.unet.get_submodule(CONV).bias))
    save_file({"diffusion_model.input_blocks.1.0.in_layers.2.diff_b": bias}, tmp_path / "x.safetensors")
    adapter = load_adapter(tmp_path / "x.safetensors", tiny)
    module, x = tiny.unet.get_submodule(CONV), torch.randn(1, 32, 4, 4)
    with apply_adapters(tiny, [AppliedAdapter(adapter, 0.5)]):
        changed = module(x)
    assert torch.allclose(changed - module(x), 0.5 * bias[:, None, None], atol=1e-6)


@pytest.mark.parametrize(
    ("ending", "shape"),
    [
        ("oft_blocks", (3, 8, 8)), ("oft_blocks", (4, 8, 7)), ("oft_blocks", (32, 32)), ("oft_blocks", (9, 4, 8, 8)),
        ("oft_diag", (2, 8, 8)), ("diff", (32, 63)), ("diff_b", (31,)),
    ],
)  # fmt: skip
def test_rotations_and_differences_of_other_shapes_are_refused(
    tiny: Components, tmp_path: Path, ending: str, shape: tuple[int, ...]
) -> None:
    save_file({f"lora_unet_{CROSS.replace('.', '_')}.{ending}": torch.zeros(shape)}, tmp_path / "x.safetensors")
    with pytest.raises(BadCheckpoint, match="does not fit this model"):
        load_adapter(tmp_path / "x.safetensors", tiny)


@pytest.mark.parametrize(
    ("ending", "form"),
    [("on_input", "(IA)³"), ("a1.weight", "GLoRA"), ("oft_R.weight", "OFT of peft"), ("boft_R", "BOFT of peft")],
)
def test_forms_that_are_not_run_are_called_by_their_name(
    tiny: Components, tmp_path: Path, ending: str, form: str
) -> None:
    file = tmp_path / "other.safetensors"
    save_file({f"lora_unet_{CROSS.replace('.', '_')}.{ending}": torch.zeros(4, 8, 8)}, file)
    facts = identify(file)
    assert facts.kind == "lora"
    assert f"of the form {form}" in facts.reason
    with pytest.raises(BadCheckpoint, match="This adapter is of the form"):
        load_adapter(file, tiny)
