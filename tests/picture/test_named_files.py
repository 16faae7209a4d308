"""The LoRAs and embeddings that a picture names are compared with those that lie here, by their hashes."""

from __future__ import annotations

import dataclasses

import pytest

from studio.answered.model_facts import ModelFacts
from studio.answered.models import Model
from studio.picture.infotext import parameters_text, parse_parameters
from studio.picture.named_files import FileRemark, compare_files, hashes_of_pairs

A, B, C = ("a1" * 32, "b2" * 32, "c3" * 32)


def model(name: str, sha256: str | None, kind: str = "lora", short: str | None = None) -> Model:
    folder, _, _ = name.rpartition("/")
    where = f"models/{kind}s" + (f"/{folder}" if folder else "")
    short = short or (sha256[:12] if sha256 else None)
    facts = ModelFacts(kind=kind)  # type: ignore[arg-type]
    return Model(
        id=name, name=name, label=name, where=where, state="usable", facts=facts, sha256=sha256, short_hash=short
    )


OWN = {"lora_hashes": {"style": A}, "lora_short_hashes": {"style": A[:12]}, "embedding_hashes": {"toy": B}}
FROM_A1111 = hashes_of_pairs({"Lora hashes": f"style: {A[:12]}", "TI hashes": f"toy: {B[:12]}"})


@pytest.mark.parametrize("info", [OWN, FROM_A1111], ids=["own", "a1111"])
@pytest.mark.parametrize(
    ("there", "prompt", "findings"),
    [
        ([model("style", A), model("toy", B, "embedding")], "fox <lora:Style:0.5> toy", []),
        ([model("style", C), model("toy", B, "embedding")], "fox <lora:Style:0.5> toy", ["another"]),
        ([model("old", A), model("style", C), model("toy", B, "embedding")], "fox <lora:old:0.5> toy", ["renamed"]),
        ([model("x/style", A), model("y/style", C)], "fox <lora:x/style:0.5> toy", ["renamed", "absent"]),
        ([model("x/style", C), model("y/style", C)], "fox <lora:Style:0.5> toy", ["unclear", "absent"]),
        ([model("style", None), model("toy", None, "embedding")], "fox <lora:Style:0.5> toy", ["unhashed", "unhashed"]),
        ([model("style", A), model("plush", B, "embedding")], "fox <lora:Style:0.5> plush", ["renamed"]),
        ([], "fox <lora:Style:0.5> toy", ["absent", "absent"]),
    ],
)
def test_what_differs_is_said_and_the_same_file_is_named_as_here(
    info: dict[str, object], there: list[Model], prompt: str, findings: list[str]
) -> None:
    found = compare_files(info, "fox <lora:Style:0.5> toy", "TOY", there)
    assert found.prompt == prompt
    assert [note.finding for note in found.remarks] == findings
    assert found.negative_prompt == ("plush" if "plush" in prompt else "TOY")


def test_a_note_says_which_file_it_is_here_and_both_hashes() -> None:
    assert compare_files(OWN, "<lora:style:1>", "", [model("style", C), model("toy", B, "embedding")]).remarks == (
        FileRemark("lora", "another", "style", "style", A[:12], C[:12]),
    )


def test_our_own_hash_of_the_whole_file_counts_more_than_what_its_metadata_claims() -> None:
    claims = model("style", C, short=A[:12])
    assert next(n.finding for n in compare_files(OWN, "<lora:style:1>", "", [claims]).remarks) == "another"
    assert next(n.finding for n in compare_files(FROM_A1111, "<lora:style:1>", "", [claims]).remarks) == "absent"


def test_a_picture_without_hashes_says_that_nobody_knows() -> None:
    assert [n.finding for n in compare_files({}, "<lora:style:1>", "", [model("style", A)]).remarks] == ["unknown"]
    broken = {"lora_hashes": ["style"], "embedding_hashes": {"toy": 3}}
    assert [n.finding for n in compare_files(broken, "<lora:style:1>", "", [model("style", A)]).remarks] == ["unknown"]


def test_an_alias_names_the_file_too() -> None:
    here = dataclasses.replace(model("style-000012", A), facts=ModelFacts(kind="lora", alias="style"))
    assert compare_files(OWN, "<lora:style:1>", "", [here, model("toy", B, "embedding")]).remarks == ()


def test_hashes_are_written_in_a1111s_form_and_read_back() -> None:
    info: dict[str, object] = {
        "prompt": "a <lora:folder/style:1> toy", "negative_prompt": "", "num_inference_steps": 5, "scheduler": "euler",
        "noise_schedule": "normal", "guidance_scale": 5.0, "seed": 1, "width": 64, "height": 64, "checkpoint": "tiny",
        "lora_hashes": {"folder/style": A, "odd, name": B},
        "lora_short_hashes": {"folder/style": C[:12], "odd, name": B[:12]},
        "embedding_hashes": {"toy": B},
    }  # fmt: skip
    text = parameters_text(info)
    assert (
        f'RNG: CPU, Lora hashes: "folder/style: {C[:12]}, odd name: {B[:12]}", TI hashes: "toy: {B[:12]}", Version'
        in text
    )
    pairs = parse_parameters(text)[2]
    assert hashes_of_pairs(pairs) == {
        "lora_short_hashes": {"folder/style": C[:12], "odd name": B[:12]},
        "embedding_hashes": {"toy": B[:12]},
    }
