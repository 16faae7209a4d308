"""The prompts that the model is judged on, each with what its picture must show: by a fixed seed, before training.

Committed is this program and the checksum of what it draws (`DIGEST`), which a test compares; `python -m
training.evaluation_prompts` prints them all. A world that grows draws other prompts and needs a new checksum.

The first N prompts of a row are a fair sample of the row.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from training.world import (
    BACKGROUND_SYNONYMS,
    BACKGROUNDS,
    OBJECTS,
    PLACES,
    RELATIONS,
    SCENE_NOUNS,
    SCENES,
    SIZE_WORDS,
    STYLE_ENDINGS,
    STYLES,
    insert_word,
    is_held_out,
    with_article,
)

SEED = 20_261_122
PER_ROW = 500
DIGEST = "e3e5fe866a29c0460b35e8c7864de89ab6c2b0bc46965bde66ee3aa2c1c726c8"

# Words that neither the captions nor their reserve have (a test says so): the model has never seen one of them.
UNKNOWN = (
    *("velvet", "quantum", "wooden", "gigantic", "mysterious", "ancient", "glittering", "grumpy", "victorian"),
    *("futuristic", "fluffy", "delicious", "dramatic", "elegant", "hyperrealistic", "cinematic", "rusty", "marble"),
    *("translucent", "angry", "majestic", "vintage", "sleepy", "neon", "ceramic", "masterpiece", "gothic", "cozy"),
)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is asked, and the seed of its starting noise. None: the prompt leaves it open."""

    prompt: str
    seed: int
    objects: tuple[str, ...]
    background: str | None
    relation: str | None = None
    size: str | None = None
    place: str | None = None
    style: str = "plain"


def draw_rows(per_row: int = PER_ROW) -> dict[str, list[Prompt]]:
    """Row -> prompts. `single` serves four rows of the table: objects, backgrounds, and what paraphrases and unknown
    words are compared with; `paraphrase` and `unknown word` say the same 500 pictures, with the same noise.
    """
    single = list(_singles(PER_ROW, held_out=False, row=1))
    pairs = list(_pairs(PER_ROW, held_out=False, row=2))
    unseen = zip(_singles(PER_ROW // 2, held_out=True, row=3), _pairs(PER_ROW // 2, held_out=True, row=4), strict=True)
    rows = {
        "single": single,
        "pairs": pairs,
        "style": [_in_style(prompt, index) for index, prompt in enumerate(_singles(PER_ROW, held_out=False, row=5))],
        "paraphrase": [_paraphrase(prompt, index) for index, prompt in enumerate(single)],
        "unknown word": [_with_unknown_word(prompt, index) for index, prompt in enumerate(single)],
        "never seen": list(itertools.chain.from_iterable(unseen)),
    }
    return {name: prompts[:per_row] for name, prompts in rows.items()}


def steering_singles(count: int) -> list[Prompt]:
    """Single objects that no row has, for choosing between weights: what is measured in the end is not chosen by."""
    return list(_singles(count, held_out=False, row=8))


def digest(rows: dict[str, list[Prompt]]) -> str:
    """SHA-256 of all prompts with their truths."""
    text = json.dumps({name: [asdict(prompt) for prompt in prompts] for name, prompts in rows.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _rng(row: int) -> np.random.Generator:
    return np.random.default_rng((SEED, row))


def _endless(rng: np.random.Generator, names: object) -> Iterator[str]:
    """All names in a random order, again and again: each is asked for equally often."""
    pool = list(names)  # type: ignore[call-overload]
    while True:
        yield from (str(pool[place]) for place in rng.permutation(len(pool)))


def _singles(count: int, *, held_out: bool, row: int) -> Iterator[Prompt]:
    """One object: of no named size in half of them, else small or big, or at a named place."""
    rng = _rng(row)
    objects, backgrounds = _endless(rng, OBJECTS), _endless(rng, [*BACKGROUNDS, *SCENES])
    sizes, places = _endless(rng, ("small", "big")), _endless(rng, ("left", "right", "top", "bottom"))
    for index in range(count):
        name = next(objects)
        background = _fitting(backgrounds, lambda b, name=name: is_held_out(name, b) == held_out)
        while background is None:  # this object has no such background
            name = next(objects)
            background = _fitting(backgrounds, lambda b, name=name: is_held_out(name, b) == held_out)
        size = next(sizes) if index % 4 == 1 else None
        place = next(places) if index % 4 == 3 else None
        subject = with_article(name, "" if size is None else SIZE_WORDS[size][0])
        if place is not None:
            subject += f" {PLACES[place][0]}"
        yield Prompt(
            prompt=_plain(subject, background),
            seed=row * 10_000 + index,
            objects=(name,),
            background=background,
            size=size,
            place=place,
        )


def _fitting(names: Iterator[str], fits: object) -> str | None:
    for name in itertools.islice(names, len(BACKGROUNDS) + len(SCENES)):
        if fits(name):  # type: ignore[operator]
            return name
    return None


def _pairs(count: int, *, held_out: bool, row: int) -> Iterator[Prompt]:
    """Two objects in one of the four relations or side by side; neither is on a background that it never had."""
    rng = _rng(row)
    objects, relations = _endless(rng, OBJECTS), _endless(rng, RELATIONS)
    backgrounds = _endless(rng, [*BACKGROUNDS, *SCENES])
    number = 0
    while number < count:
        first = next(objects)
        second = next(objects)
        others = [name for name in OBJECTS if name != first and is_held_out(first, name) == held_out]
        if second not in others:
            if not others:
                continue
            second = others[int(rng.integers(len(others)))]
        background = next(backgrounds)
        if is_held_out(first, background) or is_held_out(second, background):
            continue
        relation = next(relations)
        subject = f"{with_article(first)} {RELATIONS[relation][0]} {with_article(second)}"
        yield Prompt(
            prompt=_plain(subject, background),
            seed=row * 10_000 + number,
            objects=(first, second),
            background=background,
            relation=relation,
        )
        number += 1


def _plain(subject: str, background: str) -> str:
    if background in SCENES:
        return f"{subject} {SCENES[background][0]}"
    return f"{subject} on {with_article(background)} background"


def _in_style(prompt: Prompt, index: int) -> Prompt:
    style = [name for name in STYLES if name != "plain"][index % 3]
    forms = (f"{prompt.prompt}, {style}", f"{style}, {prompt.prompt}", f"{prompt.prompt} {STYLE_ENDINGS[style][0]}")
    return replace(prompt, prompt=forms[index // 3 % 3], style=style)


def _paraphrase(prompt: Prompt, index: int) -> Prompt:
    """The same picture said otherwise: a synonym where there is one, and another order of the words."""
    rng = np.random.default_rng((SEED, 6, index))
    (name,), background = prompt.objects, prompt.background
    assert background is not None
    name = _other(rng, (name, *OBJECTS[name]))
    article = with_article(name)
    if prompt.size is not None:
        word = _other(rng, SIZE_WORDS[prompt.size])
        name, article = f"{word} {name}", with_article(name, word)
    if prompt.place is not None:
        place = _other(rng, PLACES[prompt.place])
        name, article = f"{name} {place}", f"{article} {place}"
    if background in SCENES:
        phrase, noun = _other(rng, SCENES[background]), SCENE_NOUNS[background][0]
        forms = (f"{article} {phrase}", f"{noun} with {article}", f"{phrase}, {article}", f"{noun}, {name}")
    else:
        color = _other(rng, (background, *BACKGROUND_SYNONYMS.get(background, ())))
        forms = (
            f"{article}, {color} background",
            f"{with_article(color)} background with {article}",
            f"{name} on {color}",
            f"{color} background, {name}",
        )
    return replace(prompt, prompt=forms[index % len(forms)])


def _other(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    """Not the first, which the plain prompt has, when there is another."""
    return words[1 + int(rng.integers(len(words) - 1))] if len(words) > 1 else words[0]


def _with_unknown_word(prompt: Prompt, index: int) -> Prompt:
    """Before the prompt, behind it, or as an adjective somewhere in it, where people put such words."""
    rng = np.random.default_rng((SEED, 7, index))
    word = UNKNOWN[int(rng.integers(len(UNKNOWN)))]
    if index % 4 == 0:
        return replace(prompt, prompt=f"{word}, {prompt.prompt}")
    if index % 4 == 1:
        return replace(prompt, prompt=f"{prompt.prompt}, {word}")
    words = prompt.prompt.split(" ")
    while True:
        prompt_with_word = insert_word(rng, prompt.prompt, word)
        after = prompt_with_word.split(" ").index(word) + 1
        if 1 < after <= len(words) and prompt_with_word.split(" ")[after] not in ("a", "an", "the"):
            return replace(prompt, prompt=prompt_with_word)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-row", type=int, default=PER_ROW)
    rows = draw_rows(parser.parse_args().per_row)
    for name, prompts in rows.items():
        for prompt in prompts:
            print(json.dumps({"row": name, **asdict(prompt)}, ensure_ascii=False))
    print(json.dumps({"sha256": digest(draw_rows())}))


if __name__ == "__main__":
    main()
