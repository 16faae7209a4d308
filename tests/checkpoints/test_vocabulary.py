"""A checkpoint's words as rows for the page: phrases that read well, and unknown_names' files that say nonsense."""

from __future__ import annotations

import json
from pathlib import Path

from studio.answered.model_facts import ModelFacts
from studio.checkpoints.vocabulary import GROUPS, vocabulary

WORLD = {
    "without_article": ["grapes"],
    "objects": [{"name": "owl", "synonyms": []}, {"name": "grapes"}, {"name": "car", "synonyms": ["red car"]}],
    "backgrounds": [{"name": "gray", "synonyms": ["grey"]}],
    "scenes": [{"name": "snow", "phrases": ["in the snow", "in winter"]}],
    "sizes": [{"name": "big", "words": ["big", "large"]}],
    "styles": [{"name": "pixel art", "words": []}],
}


def test_rows_have_the_phrase_for_a_prompt() -> None:
    assert vocabulary(WORLD) == (
        ("objects", "owl", "an owl"),
        ("objects", "grapes", "grapes"),
        ("objects", "car", "a car", "red car"),
        ("backgrounds", "gray", "on a gray background", "grey"),
        ("scenes", "snow", "in the snow", "in winter"),
        ("sizes", "big", "big", "large"),
        ("styles", "pixel art", "pixel art"),
    )


def test_nonsense_is_left_out() -> None:
    assert vocabulary({}) == ()
    odd = {"objects": [5, {"name": ""}, {"name": "x" * 61}, {"name": ["fox"]}, {"synonyms": ["fox"]}, {"name": "fox"}]}
    assert vocabulary({**odd, "scenes": "snow", "without_article": 3}) == (("objects", "fox", "a fox"),)
    assert len(vocabulary({"objects": [{"name": f"thing {k}"} for k in range(2000)]})) == 1000


def test_the_built_in_one_has_every_group_and_survives_the_listings_cache() -> None:
    world = json.loads(Path("models/small-world-128/world.json").read_text(encoding="utf-8"))
    rows = vocabulary(world)
    assert {row[0] for row in rows} == set(GROUPS)
    assert next(row[:3] for row in rows if row[1] == "snow") == ("scenes", "snow", "in the snow")
    facts = ModelFacts(vocabulary=rows)
    assert ModelFacts.from_json(json.loads(json.dumps(facts.as_json()))) == facts
