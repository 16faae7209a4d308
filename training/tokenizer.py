"""A small byte-pair vocabulary in CLIPTokenizer form, made from the words of `words.txt`.

The base alphabet is all 256 bytes, so any unicode text can be written in it; the merges make every word of the list one
token. Other text becomes pieces of words and letters, which training scatters into captions (`world.write_caption`), so
that the model learns to pass them over.

The list has a reserve of common words: a larger world that keeps to it keeps the vocabulary, and every token its id.
Where the vocabulary does change, `carry_over` moves what a text encoder has learned to the new one.

    python -m training.tokenizer --out training/runs/unet/tokenizer
"""

from __future__ import annotations

import argparse
import itertools
import json
import zlib
from collections import Counter, defaultdict
from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WORDS = Path(__file__).parent / "words.txt"

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
MODEL_MAX_LENGTH = 77
END_OF_WORD = "</w>"


def byte_alphabet() -> list[str]:
    """One printable character per byte, in the order GPT-2 and CLIP use for their vocabularies."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    unprintable = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(unprintable))]


def learn_merges(words: Counter[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016): joins the most frequent pair until every word is one piece.

    Ties go to the pair that sorts first, so the vocabulary is the same on every machine.
    """
    pieces = {word: (*word[:-1], word[-1] + END_OF_WORD) for word in words}
    counts: Counter[tuple[str, str]] = Counter()
    places: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # the words that a pair has ever stood in
    for word, parts in pieces.items():
        for pair in itertools.pairwise(parts):
            counts[pair] += words[word]
            places[pair].add(word)
    merges: list[tuple[str, str]] = []
    while counts:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for word in places.pop(best):
            before = pieces[word]
            pieces[word] = _join(before, best)
            for pair in itertools.pairwise(before):
                counts[pair] -= words[word]
            for pair in itertools.pairwise(pieces[word]):
                counts[pair] += words[word]
                places[pair].add(word)
        counts = +counts  # without pairs that no word has any more
    return merges


def _join(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    words: list[str] = []
    for part in parts:
        if words and (words[-1], part) == pair:
            words[-1] += part
        else:
            words.append(part)
    return tuple(words)


def vocabulary_words() -> list[str]:
    """The words of `words.txt`, in its order; lines that begin with # are headings."""
    lines = WORDS.read_text(encoding="utf-8").splitlines()
    return [word for line in lines if not line.startswith("#") for word in line.split()]


def save_tokenizer(folder: Path) -> None:
    """Learns the vocabulary and writes vocab.json, merges.txt and the configuration that transformers reads.

    tokenizer_config.json is written last: a folder that has it is whole.
    """
    merges = learn_merges(Counter(vocabulary_words()))
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


def ensure_tokenizer(folder: Path) -> None:
    """Learns the vocabulary into `folder` unless a whole one lies there: a run keeps the vocabulary it began with."""
    if not (folder / "tokenizer_config.json").exists():
        save_tokenizer(folder)


def vocabulary_checksum(folder: Path) -> int:
    """CRC-32 of the vocabulary in `folder`: tells whose token ids a file has."""
    return zlib.crc32((folder / "vocab.json").read_bytes())


def split_token(token: str, merges: list[tuple[str, str]]) -> tuple[str, ...]:
    """How a vocabulary with these `merges` writes a token of another vocabulary, as its own tokens."""
    ends_word = token.endswith(END_OF_WORD)
    letters = token.removesuffix(END_OF_WORD)
    pieces: tuple[str, ...] = (*letters[:-1], letters[-1] + (END_OF_WORD if ends_word else ""))
    for pair in merges:
        if len(pieces) == 1:
            break
        pieces = _join(pieces, pair)
    return pieces


def read_merges(folder: Path) -> list[tuple[str, str]]:
    """The merges of the tokenizer in `folder`, in their order."""
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    return [(left, right) for left, right in pairs]


def carry_over(text_encoder: CLIPTextModel, old_folder: Path, new_folder: Path) -> CLIPTextModel:
    """The same text encoder for the vocabulary in `new_folder`, as far as `old_folder`'s says what a token meant.

    Rows of the token embedding go by the token's text, not by its id; a token the old vocabulary lacks gets the mean of
    the pieces that it would have been read as. Everything else is copied as it is.
    """
    old_ids: dict[str, int] = json.loads((old_folder / "vocab.json").read_text(encoding="utf-8"))
    new_ids: dict[str, int] = json.loads((new_folder / "vocab.json").read_text(encoding="utf-8"))
    if old_ids == new_ids:
        return text_encoder
    merges = read_merges(old_folder)
    values = text_encoder.config.to_dict()
    values |= {"vocab_size": len(new_ids), "bos_token_id": new_ids[BOS], "eos_token_id": new_ids[EOS]}
    values |= {"pad_token_id": new_ids[EOS]}
    encoder = CLIPTextModel(CLIPTextConfig(**values))
    weights = text_encoder.state_dict()
    (name,) = (name for name in weights if name.endswith("token_embedding.weight"))
    old_rows = weights[name]
    rows = torch.empty(len(new_ids), old_rows.shape[1], dtype=old_rows.dtype)
    for token, row in new_ids.items():
        pieces = (token,) if token in old_ids else split_token(token, merges)
        rows[row] = old_rows[[old_ids[piece] for piece in pieces]].mean(dim=0)
    encoder.load_state_dict(weights | {name: rows})
    return encoder.to(old_rows.dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    save_tokenizer(parser.parse_args().out)


if __name__ == "__main__":
    main()
