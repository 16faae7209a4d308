"""Which file a name means: by its name or its folders, in any spelling, by its alias; never silently another one."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from studio.asked.control import Control
from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.lookup import in_listing, matching, the_checkpoint, the_one
from tests.audit import paths_opened
from tests.tiny import save_tiny_checkpoint, tiny_unet
from tests.tiny_control import save_tiny_controlnet

CROSS = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


def save_lora(path: Path, alias: str = "", family: str = "sd_v1", width: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"{CROSS}.lora_down.weight": torch.zeros(2, width), f"{CROSS}.lora_up.weight": torch.zeros(16, 2)}
    save_file(tensors, path, metadata={"ss_base_model_version": family} | ({"ss_output_name": alias} if alias else {}))


def lora(models: Path, name: str, family: str = "") -> str:
    entries = Catalog([models]).entries()
    return (
        the_one(entries, "lora", name, field="prompt", what="LoRA", family=family).path.relative_to(models).as_posix()
    )


def test_a_short_name_never_becomes_another_file(tmp_path: Path) -> None:
    save_lora(tmp_path / "loras" / "b" / "same.safetensors")
    assert lora(tmp_path, "same") == "loras/b/same.safetensors"
    save_lora(tmp_path / "loras" / "a" / "same.safetensors")  # sorts before it
    with pytest.raises(InvalidRequest, match=r"the LoRA 'same', a name of 2 files, is not .*one of a/same, b/same"):
        lora(tmp_path, "same")
    assert lora(tmp_path, "b/same") == "loras/b/same.safetensors"
    assert lora(tmp_path, "loras/a/same") == lora(tmp_path, "A\\SAME.safetensors") == "loras/a/same.safetensors"
    save_lora(tmp_path / "loras" / "same.safetensors")
    with pytest.raises(InvalidRequest, match=r"one of a/same, b/same, loras/same"):
        lora(tmp_path, "same")
    assert [e.name for e in Catalog([tmp_path]).entries()] == ["a/same", "b/same", "loras/same"]


def test_a_checkpoints_short_name_never_becomes_another_either(tmp_path: Path) -> None:
    save_tiny_checkpoint(tmp_path / "checkpoints" / "b" / "fox")
    assert the_checkpoint(Catalog([tmp_path]).entries(), "Fox").name == "fox"
    save_tiny_checkpoint(tmp_path / "checkpoints" / "a" / "fox")
    entries = Catalog([tmp_path]).entries()
    with pytest.raises(InvalidRequest, match=r"'fox', a name of 2 checkpoints, is not allowed.*one of a/fox, b/fox"):
        the_checkpoint(entries, "fox")
    assert in_listing(TextToImage(prompt="x", checkpoint="B/Fox"), entries).checkpoint == "b/fox"


def test_the_same_path_in_two_folders_of_one_name_has_a_name_that_stays(tmp_path: Path) -> None:
    for side in ("one", "two"):
        save_lora(tmp_path / side / "models" / "loras" / "same.safetensors")
    both = [tmp_path / side / "models" for side in ("one", "two")]
    names = {entry.path: entry.name for entry in Catalog(both).entries()}
    assert len(set(names.values())) == 2
    assert names == {entry.path: entry.name for entry in Catalog(both[::-1]).entries()}
    for path, name in names.items():
        assert [e.path for e in matching(Catalog(both).entries(), "lora", name)] == [path]


def test_a_file_that_cannot_be_used_takes_no_name(tmp_path: Path) -> None:
    save_lora(tmp_path / "loras" / "same.safetensors")
    (tmp_path / "loras" / "same.pt").write_bytes(b"\x80\x02}q\0." * 10)
    assert lora(tmp_path, "same") == "loras/same.safetensors"
    assert {e.path.name: e.name for e in Catalog([tmp_path]).entries()} == {
        "same.safetensors": "same",
        "same.pt": "same.pt",
    }


def test_of_one_name_the_file_for_the_checkpoints_family_is_meant(tmp_path: Path) -> None:
    save_lora(tmp_path / "loras" / "sd1" / "same.safetensors")
    save_lora(tmp_path / "loras" / "xl" / "same.safetensors", family="sdxl_base_v1-0")
    assert lora(tmp_path, "same", family="sd1") == "loras/sd1/same.safetensors"
    assert lora(tmp_path, "same", family="sdxl") == "loras/xl/same.safetensors"
    with pytest.raises(InvalidRequest, match=r"a name of 2 files"):
        lora(tmp_path, "same", family="SD 2")


@pytest.mark.parametrize("name", ["Pokémon", "Straße", "한국 스타일", "ﬁlm grain", "İstanbul", "ΣΊΣΥΦΟΣ"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_names_are_found_however_their_letters_are_stored(tmp_path: Path, name: str, on_disk: str) -> None:
    save_lora(tmp_path / "loras" / f"{unicodedata.normalize(on_disk, name)}.safetensors")
    for typed in ("NFC", "NFD"):
        for spelled in (str.upper, str.lower, str.casefold, str):
            if name == "İstanbul" and spelled in (str.lower, str.casefold):
                continue  # Python's lower case of it is the same name; nothing more to see
            assert lora(tmp_path, unicodedata.normalize(typed, spelled(name))).startswith("loras/")
    assert Catalog([tmp_path]).entries()[0].name == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
def test_a_request_gets_the_listings_names_of_its_checkpoint_and_controlnets(
    tmp_path: Path, on_disk: str, typed: str
) -> None:
    checkpoint = unicodedata.normalize(on_disk, "Pokémon")
    save_tiny_checkpoint(tmp_path / "checkpoints" / checkpoint)
    net = tmp_path / "controlnet" / unicodedata.normalize(on_disk, "Straße é")
    save_tiny_controlnet(net, tiny_unet())
    control = Control(model=unicodedata.normalize(typed, "STRASSE É"), image=b"x")
    asked = TextToImage(prompt="x", checkpoint=unicodedata.normalize(typed, "pokémon"), controls=(control,))
    listed = in_listing(asked, Catalog([tmp_path]).entries())
    assert listed.checkpoint == "Pokémon"
    assert listed.controls[0].model == "Straße é"
    save_tiny_controlnet(tmp_path / "controlnet" / "a" / net.name, tiny_unet())
    with pytest.raises(InvalidRequest, match=r"a name of 2 files, is not .*one of a/Straße é, controlnet/Straße é"):
        in_listing(asked, Catalog([tmp_path]).entries())


def test_an_alias_is_found_when_only_one_file_has_it(tmp_path: Path) -> None:
    save_lora(tmp_path / "loras" / "pixel-v2-000012.safetensors", alias="PixelArt")
    assert lora(tmp_path, "pixelart") == "loras/pixel-v2-000012.safetensors"
    save_lora(tmp_path / "loras" / "pixel-v3.safetensors", alias="PixelArt")
    with pytest.raises(
        InvalidRequest, match=r"the LoRA 'PixelArt', a name of 2 files.*one of pixel-v2-000012, pixel-v3"
    ):
        lora(tmp_path, "PixelArt")
    save_lora(tmp_path / "loras" / "PixelArt.safetensors")  # a file's own name comes first
    assert lora(tmp_path, "PixelArt") == "loras/PixelArt.safetensors"


@pytest.mark.parametrize(
    "name", ["../../secret", "../secret/secret", "/etc/passwd", "{outside}/secret", "..", "a/../.."]
)
def test_a_path_is_no_name_and_opens_nothing_outside(tmp_path: Path, name: str) -> None:
    models, outside = tmp_path / "models", tmp_path / "secret"
    save_lora(models / "loras" / "good.safetensors")
    save_tiny_checkpoint(models / "checkpoints" / "good")
    save_lora(outside / "secret.safetensors")
    save_tiny_checkpoint(outside / "secret")
    name = name.format(outside=outside)
    with paths_opened() as paths:
        entries = Catalog([models]).entries()
        for ask in (lambda: the_checkpoint(entries, name), lambda: lora(models, name)):
            with pytest.raises(InvalidRequest):
                ask()
    assert any(Path(path).is_relative_to(models) for path in paths), "opens are seen"
    assert [path for path in paths if Path(path).is_relative_to(outside) or path == "/etc/passwd"] == []


def test_an_unknown_name_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"none: there is no LoRA in the models folders"):
        lora(tmp_path, "absent")
    save_lora(tmp_path / "loras" / "bad\u202ename.safetensors")
    with pytest.raises(InvalidRequest) as refused:
        lora(tmp_path, "absent")
    assert "one of bad\N{REPLACEMENT CHARACTER}name" in str(refused.value)
