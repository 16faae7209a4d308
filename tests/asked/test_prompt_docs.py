"""Every example of docs/prompts.md does what the page says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from studio.asked.emphasis import weighted_spans
from studio.asked.prompt import parse_prompt
from studio.asked.template import NoSuchLines, resolve_template
from studio.picture.styles import with_style

PAGE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
_CODE = re.compile(r"`([^`]*)`")
_CELL = re.compile(r"(?<!\\)\|")


def rows(header: str) -> list[list[str]]:
    """The cells of the rows of the table that begins with this header, each with its "|" as typed."""
    lines = PAGE[PAGE.index(header) :].split("\n\n")[0].split("\n")[2:]
    return [[cell.replace("\\|", "|").strip(" ") for cell in _CELL.split(line)[1:-1]] for line in lines if line]


def codes(cell: str) -> list[str]:
    return _CODE.findall(cell)


def weights(cell: str) -> list[tuple[str, float]]:
    """`words` number, `words` number."""
    return [(words, float(number)) for words, number in re.findall(r"`([^`]*)` (-?[\d.]+)", cell)]


class Files:
    def lines(self, name: str) -> Sequence[str]:
        lines = {"colour": ("red", "blue"), "animals/big": ("bear",)}.get(name)
        if lines is None:
            raise NoSuchLines("is not there")
        return lines


def spans(prompt: str, emphasis: str) -> list[tuple[str, float]]:
    return [(one.text, round(one.weight, 3)) for one in weighted_spans(prompt, emphasis)]  # type: ignore[arg-type]


@pytest.mark.parametrize("row", rows("| prompt | words and weights |"), ids=str)
def test_weights(row: list[str]) -> None:
    assert spans(codes(row[0])[0], "original") == weights(row[1])


@pytest.mark.parametrize("row", rows("| prompt | Original, No norm | ComfyUI |"), ids=str)
def test_emphasis(row: list[str]) -> None:
    prompt = codes(row[0])[0]
    assert spans(prompt, "original") == spans(prompt, "no_norm") == weights(row[1])
    assert spans(prompt, "comfyui") == weights(row[2])


@pytest.mark.parametrize("row", rows("| prompt | in 10 steps |"), ids=str)
def test_scheduling(row: list[str]) -> None:
    texts = [(int(until), text) for until, text in re.findall(r"to (\d+) `([^`]*)`", row[1])]
    assert texts
    assert parse_prompt(codes(row[0])[0]).texts(10) == texts


@pytest.mark.parametrize("row", rows("| prompt | texts and weights |"), ids=str)
def test_and(row: list[str]) -> None:
    assert [(one.words, one.weight) for one in parse_prompt(codes(row[0])[0]).subprompts] == weights(row[1])


@pytest.mark.parametrize("row", rows("| prompt | words that are left | LoRAs |"), ids=str)
def test_comments_and_loras(row: list[str]) -> None:
    parsed = parse_prompt(codes(row[0])[0])
    assert parsed.words.rstrip("\n") == codes(row[1])[0]
    loras = [f"{one.name} {one.text_scale:g} {one.unet_scale:g}" for one in parsed.loras]
    assert loras == ([row[2]] if row[2] else [])


@pytest.mark.parametrize("row", rows("| template | pictures | |"), ids=str)
def test_templates(row: list[str]) -> None:
    pictures = {resolve_template(codes(row[0])[0], seed, Files()).text for seed in range(200)}
    expected = set(codes(row[1]))
    assert expected <= pictures if "…" in row[1] else expected == pictures


@pytest.mark.parametrize("row", rows("| prompt | style | becomes |"), ids=str)
def test_styles(row: list[str]) -> None:
    prompt, style, result = (codes(cell)[0] for cell in row)
    assert with_style(prompt, style) == result


def test_no_table_is_without_its_test() -> None:
    headers = [line for line, below in zip(PAGE.split("\n"), PAGE.split("\n")[1:]) if below.startswith("| ---")]
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'rows("{header}")' in source for header in headers)
    assert len(headers) == 7
