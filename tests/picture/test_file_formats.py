"""PNG, JPEG and WebP hold the same text and the same record, other programs read them, and nothing is cut."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import piexif
import piexif.helper
import pytest
from PIL import Image

from studio.answered.events import Picture
from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import Suits, resolve
from studio.picture.file_formats import FORMAT_NAMES, Encoding, FormatName, Unfit, encode, media_type
from studio.picture.gallery import Gallery
from studio.picture.infotext import parameters_text
from studio.picture.library import reading
from studio.picture.metadata import head, picture_info, read_png, request_from_info, texts_of
from studio.picture.saved_copies import CopyOrder, saved_copy, without_metadata
from studio.picture.saving import Saving, as_text

ANN = "a" * 32
PROMPT = 'a fox, <b>é</b> 🍎 & "quotes" </studio:record>\nsecond line'
LOSSY = [Encoding(format="jpeg"), Encoding(format="webp")]
ALL = [Encoding(), *LOSSY, Encoding(format="webp", lossless=True)]


def noise(size: tuple[int, int] = (24, 16)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


LONG = "x" * 17_000  # 34,000 bytes of UTF-16


def info_of(prompt: str = PROMPT, negative_prompt: str = "") -> dict[str, object]:
    request = TextToImage(prompt=prompt, negative_prompt=negative_prompt, seed=7, width=64, height=64)
    return picture_info(resolve(request, Suits()), width=64, height=64, seconds=1.25)


def save(
    folder: Path, saving: Saving, prompt: str = PROMPT, negative_prompt: str = ""
) -> tuple[Gallery, Picture, Path]:
    gallery = Gallery(folder)
    gallery.saving.path.write_text(as_text(saving))
    info = info_of(prompt, negative_prompt)
    picture = gallery.save(noise(), info=info, parameters=parameters_text(info), owner=ANN)
    path = gallery.path(picture.id, ANN)
    assert path is not None
    return gallery, picture, path


@pytest.mark.parametrize("how", ALL)
def test_every_format_holds_the_same_text_and_record(how: Encoding) -> None:
    info = info_of()
    text = parameters_text(info)
    data = encode(noise(), how, info, text)
    texts = texts_of(data)
    assert texts["parameters"] == text
    assert json.loads(texts["latent-studio"]) == info
    assert read_png(data) == request_from_info(info)


@pytest.mark.parametrize("how", LOSSY)
def test_other_programs_read_the_text_as_automatic1111_does(how: Encoding) -> None:
    info = info_of()
    text = parameters_text(info)
    with Image.open(io.BytesIO(encode(noise(), how, info, text))) as image:
        exif = piexif.load(image.info["exif"])  # `images.read_info_from_image` there, word for word
        comment = (exif or {}).get("Exif", {}).get(piexif.ExifIFD.UserComment, b"")
        assert piexif.helper.UserComment.load(comment) == text
        assert image.getexif().get_ifd(0x8769)[0x9286] == b"UNICODE\0" + text.encode("utf-16-be")  # plain Pillow


@pytest.mark.parametrize("how", ALL)
def test_a_picture_of_every_format_is_found_shown_and_listed(tmp_path: Path, how: Encoding) -> None:
    saving = Saving(format=how.format, lossless=how.lossless)
    gallery, picture, path = save(tmp_path, saving)
    assert path.name == f"00001-7.{ {'jpeg': 'jpg'}.get(how.format, how.format) }"
    assert media_type(path) == f"image/{how.format}"
    assert gallery.picture(picture.id, ANN) == picture
    assert Gallery(tmp_path).earlier(ANN) == [picture]
    assert gallery.thumbnail(picture.id, ANN)
    again = gallery.keep(picture.id, ANN)
    assert again is not None
    assert again.file_name.endswith(path.suffix)
    facts = reading.facts_of(path)
    assert (facts.prompt, facts.width, facts.info) == (PROMPT, 24, picture.info)
    with Image.open(path) as image:
        same = (np.asarray(image.convert("RGB")) == np.asarray(noise())).all()
    assert bool(same) == (how.format == "png" or how.lossless)


def test_quality_is_obeyed(tmp_path: Path) -> None:
    sizes = [len(encode(noise((64, 64)), Encoding(format="jpeg", quality=q), info_of(), "")) for q in (20, 90)]
    assert sizes[0] * 1.5 < sizes[1]


@pytest.mark.parametrize("what", ["text", "record"])
def test_what_jpeg_cannot_hold_is_saved_as_png_and_said(tmp_path: Path, what: str) -> None:
    # An emoji is 4 bytes of UTF-16, and 12 of JSON.
    prompt, negative_prompt = (LONG, LONG) if what == "text" else ("🍎" * 6_000, "")
    _, picture, path = save(tmp_path, Saving(format="jpeg"), prompt, negative_prompt)
    assert path.suffix == ".png"
    assert "Saved as PNG, not as JPEG" in str(picture.info["file_note"])
    assert texts_of(path)["parameters"] == picture.parameters
    assert head(path)[2]["parameters"].startswith(prompt)


def test_webp_holds_what_jpeg_cannot(tmp_path: Path) -> None:
    _, picture, path = save(tmp_path, Saving(format="webp"), LONG, LONG)
    assert path.suffix == ".webp"
    assert "file_note" not in picture.info
    assert texts_of(path)["parameters"] == picture.parameters


@pytest.mark.parametrize(
    ("image", "how", "words"),
    [
        (Image.new("RGBA", (8, 8)), Encoding(format="jpeg"), "transparency"),
        (Image.new("RGB", (16_384, 1)), Encoding(format="webp"), "16,383 pixels"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(image: Image.Image, how: Encoding, words: str) -> None:
    with pytest.raises(Unfit, match=words):
        encode(image, how, {}, "")


# ------------------------------------------------------------------------------------------------------ copies


@pytest.mark.parametrize("saved_as", FORMAT_NAMES)
@pytest.mark.parametrize("wanted", FORMAT_NAMES)
def test_a_copy_in_another_format_says_the_same(tmp_path: Path, saved_as: FormatName, wanted: FormatName) -> None:
    _, picture, path = save(tmp_path, Saving(format=saved_as))
    copy = saved_copy(path, CopyOrder.parse({"format": wanted}))
    assert copy.media_type == f"image/{wanted}"
    assert texts_of(copy.content)["parameters"] == picture.parameters
    assert json.loads(texts_of(copy.content)["latent-studio"]) == picture.info
    assert (copy.content == path.read_bytes()) == (saved_as == wanted)


@pytest.mark.parametrize("how", ALL)
def test_a_copy_without_metadata_has_the_same_pixels_and_nothing_else(tmp_path: Path, how: Encoding) -> None:
    _, _, path = save(tmp_path, Saving(format=how.format, lossless=how.lossless))
    copy = saved_copy(path, CopyOrder.parse({"metadata": "0"}))
    data = copy.content
    for trace in (b"fox", b"f\0o\0x", b"parameters", b"latent", b"Exif", b"EXIF", b"xmp", b"XMP"):
        assert trace not in data
    with Image.open(io.BytesIO(data)) as image, Image.open(path) as before:
        assert (np.asarray(image) == np.asarray(before)).all()
        assert not {"exif", "xmp", "parameters"} & image.info.keys()
    for wanted in FORMAT_NAMES:
        other = saved_copy(path, CopyOrder.parse({"format": wanted, "metadata": "0"})).content
        assert texts_of(other).get("parameters", "") == ""
        assert b"latent" not in other


def test_a_file_of_another_kind_has_no_copy() -> None:
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        without_metadata(b"GIF89a")


@pytest.mark.parametrize(
    "texts",
    [{"format": "gif"}, {"format": "jpeg", "quality": "0"}, {"format": "jpeg", "quality": "x"}, {"metadata": "no"},
     {"quality": "80"}, {"format": "webp", "lossless": "2"}],
)  # fmt: skip
def test_bad_wishes_are_named(texts: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        CopyOrder.parse(texts)


def test_a_copy_that_jpeg_cannot_hold_is_refused_with_the_reason(tmp_path: Path) -> None:
    _, _, path = save(tmp_path, Saving(), LONG, LONG)
    with pytest.raises(InvalidRequest, match="64 KiB"):
        saved_copy(path, CopyOrder.parse({"format": "jpg"}))


# ------------------------------------------------------------------------------------------------------ choice


def test_the_choice_is_read_anew_and_a_broken_one_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gallery = Gallery(tmp_path)
    assert gallery.saving.now() == Saving()
    gallery.saving.path.write_text(as_text(Saving(format="webp", quality=70)))
    assert gallery.saving.now() == Saving(format="webp", quality=70)
    for text in ("{", "[]", '{"version": 99}', '{"version": 1, "format": "gif"}', '{"version": 1, "other": 1}'):
        gallery.saving.path.write_text(text)
        assert gallery.saving.now() == Saving(), text
    assert "saved as usual" in caplog.text


# -------------------------------------------------------------------------------------- hashes, read by others

_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')  # A1111's re_param


def as_automatic1111_reads(text: str) -> tuple[str, dict[str, str]]:
    """Prompt and pairs, as `infotext_utils.parse_generation_parameters` of version 1.10 takes a text apart."""
    *lines, last = text.strip().split("\n")
    pairs = {key: json.loads(value) if value.startswith('"') else value for key, value in _PAIR.findall(last)}
    return "\n".join(lines).partition("\nNegative prompt:")[0], pairs


def hashes_as_its_lora_extension_reads(pairs: dict[str, str], key: str) -> dict[str, str]:
    """As `infotext_pasted` of its extension Lora: split at commas, then at the first colon."""
    parts = [part.strip().split(":", 1) for part in pairs[key].split(",")]
    return {part[0].strip(): part[1].strip() for part in parts}


@pytest.mark.parametrize("how", ALL)
def test_the_hashes_of_loras_and_embeddings_are_read_rightly_by_others(how: Encoding) -> None:
    style, light, toy = "0123456789ab", "fedcba987654", "00112233445566778899" * 3 + "aabb"
    prompt = "a fox, <lora:style:1>, <lora:folder/soft light:0.5>, my toy"
    info = info_of(prompt) | {
        "model_hash": "5c" * 32,
        "lora_hashes": {"style": "a" * 64, "folder/soft light": "b" * 64},
        "lora_short_hashes": {"style": style, "folder/soft light": light},
        "embedding_hashes": {"my toy": toy},
    }
    data = encode(noise(), how, info, parameters_text(info))
    with Image.open(io.BytesIO(data)) as image:
        if how.format == "png":
            text = image.text["parameters"]  # type: ignore[attr-defined]
        else:
            text = piexif.helper.UserComment.load(piexif.load(image.info["exif"])["Exif"][piexif.ExifIFD.UserComment])
    said, pairs = as_automatic1111_reads(text)
    assert said == prompt
    assert pairs["Model hash"] == "5c" * 5
    by_name = hashes_as_its_lora_extension_reads(pairs, "Lora hashes")
    assert {name: by_name[name] for name in re.findall(r"<lora:([^:]+):", said)} == {
        "style": style,
        "folder/soft light": light,
    }
    assert hashes_as_its_lora_extension_reads(pairs, "TI hashes") == {"my toy": toy[:12]}
