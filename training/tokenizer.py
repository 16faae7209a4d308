"""A small byte-pair vocabulary in CLIPTokenizer form, learned from the world's own captions.

The base alphabet is all 256 bytes, so any unicode text can be written in it; the merges make every word of the world
one token. Text outside the world becomes single letters, which the model has never learned: harmless, but meaningless.

    python -m training.tokenizer --out models/small-world-128/tokenizer
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from pathlib import Path

from transformers import CLIPTokenizer

from training.world import SPRITES, draw_scene

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
MODEL_MAX_LENGTH = 77
END_OF_WORD = "</w>"


def byte_alphabet() -> list[str]:
    """One printable character per byte, in the order GPT-2 and CLIP use for their vocabularies."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(hidden))]


def learn_merges(words: Counter[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016): joins the most frequent pair until every word is one piece.

    Ties go to the pair that sorts first, so the vocabulary is the same on every machine.
    """
    pieces = {word: (*word[:-1], word[-1] + END_OF_WORD) for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _join(parts, best) for word, parts in pieces.items()}


def _join(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def count_words(captions: int = 20_000, seed: int = 0) -> Counter[str]:
    """How often each word and comma stands in the captions of world `seed`.

    Names of sprites that the world does not draw yet count once: a larger world can then keep the vocabulary.
    """
    words: Counter[str] = Counter()
    for sprite in sorted(SPRITES.glob("*.png")):
        words.update(sprite.stem.split("-"))
    for index in range(captions):
        words.update(draw_scene(seed, index).caption.replace(",", " ,").split())
    return words


def save_tokenizer(folder: Path) -> None:
    """Learns the vocabulary and writes vocab.json, merges.txt and the configuration that transformers reads."""
    merges = learn_merges(count_words())
    alphabet = byte_alphabet()
    tokens = [*alphabet, *(letter + END_OF_WORD for letter in alphabet)]
    tokens += [left + right for left, right in merges]
    tokens = [*dict.fromkeys(tokens), BOS, EOS]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MODEL_MAX_LENGTH,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        **special,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer in `folder` as transformers understands it."""
    return CLIPTokenizer.from_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    save_tokenizer(parser.parse_args().out)


if __name__ == "__main__":
    main()
