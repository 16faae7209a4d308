"""The small world: pictures drawn by program, each with its truth (objects, places, background, style) and a caption.

`draw_scene(seed, index)` is deterministic, so a training run needs no data files: sample number `index` is always the
same picture. Knows nothing of tensors or networks.

Every sprite box lies on the 8-pixel grid of the latents and has one of three sizes. That is a choice for
small computers: the same object then has nearly the same latents wherever it stands, and is learned sooner.
"""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SPRITES = Path(__file__).parent / "sprites"
SIZE = 128  # pixels, width and height of a picture
GRID = 8  # pixels of one latent

# name -> other words for the same thing. The file is sprites/<name with dashes>.png.
OBJECTS: dict[str, tuple[str, ...]] = {
    "fox": ("red fox",),
    "red apple": ("apple",),
    "pizza": ("slice of pizza",),
    "rocket": ("spaceship",),
    "banana": ("yellow banana",),
    "cat": ("kitten",),
    "panda": ("panda bear",),
    "frog": ("toad",),
    "pig": ("piglet",),
    "penguin": (),
    "whale": ("blue whale",),
    "octopus": ("squid",),
    "butterfly": (),
    "ladybug": ("ladybird",),
    "turtle": ("tortoise",),
    "tree": (),
    "cactus": ("green cactus",),
    "sunflower": (),
    "mushroom": ("toadstool",),
    "strawberry": (),
    "grapes": (),
    "watermelon": (),
    "donut": ("doughnut",),
    "ice cream": ("ice cream cone",),
    "house": ("home",),
    "car": ("red car",),
    "balloon": ("red balloon",),
    "soccer ball": ("football",),
    "heart": ("red heart",),
    "star": ("yellow star",),
    "ghost": ("spirit",),
    "robot": ("android",),
    "snowman": (),
    "crown": ("golden crown",),
    "lemon": ("yellow lemon",),
    "guitar": ("electric guitar",),
    "dog": ("puppy",),
    "lion": (),
    "owl": (),
    "fish": ("tropical fish",),
    "moon": ("crescent moon",),
    "pear": ("green pear",),
    "rose": ("red rose",),
    "airplane": ("plane", "aeroplane"),
    "umbrella": ("purple umbrella",),
    "key": ("golden key",),
    "bee": ("honeybee",),
    "cherries": ("two cherries",),
    "carrot": (),
    "hamburger": ("burger",),
    "cake": ("birthday cake",),
    "sailboat": ("sailing boat",),
    "bus": (),
    "gift": ("present",),
    "tulip": (),
    "elephant": (),
    "chick": ("baby chicken",),
    "snail": (),
    "crab": (),
    "pumpkin": ("jack-o-lantern",),
    "diamond": ("gem",),
    "basketball": (),
    "cheese": ("piece of cheese",),
    "corn": ("ear of corn", "corn cob"),
}
WITHOUT_ARTICLE = {"grapes", "cherries", "two cherries", "cheese", "corn"}

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "black": (16, 16, 18),
    "gray": (140, 142, 146),
    "red": (196, 40, 44),
    "orange": (242, 140, 40),
    "yellow": (250, 220, 90),
    "green": (60, 150, 80),
    "blue": (50, 100, 205),
    "purple": (120, 66, 170),
    "pink": (245, 165, 195),
}
BACKGROUND_SYNONYMS = {"gray": ("grey",), "purple": ("violet",)}

# scene -> the ways a caption says it; each completes "a fox ..."
SCENES: dict[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "in the meadow", "on the grass", "in the grass"),
    "sea": ("in the sea", "at sea", "on the water", "in the ocean"),
    "desert": ("in the desert", "in a desert", "on the sand", "in the dunes"),
    "snow": ("in the snow", "in winter", "on the snow", "in a snowy landscape"),
    "night sky": ("in the night sky", "at night", "under the stars", "in a starry night"),
    "sunset": ("at sunset", "in the sunset", "in the evening", "at dusk"),
}
# scene -> its own names, the first with an article
SCENE_NOUNS: dict[str, tuple[str, ...]] = {
    "meadow": ("a meadow", "a green meadow", "meadow"),
    "sea": ("the sea", "the ocean", "sea"),
    "desert": ("a desert", "the desert", "desert"),
    "snow": ("a snowy landscape", "the snow", "snow"),
    "night sky": ("a night sky", "a starry sky", "night sky"),
    "sunset": ("a sunset", "the sunset", "sunset"),
}
SCENE_VARIANTS = 4  # drawings per scene

# Pixels of the sprite's box. "half" is for pairs alone: two of them fill the picture's width.
SIZES: dict[str, int] = {"small": 56, "half": 64, "normal": 80, "big": 112}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "half": (),
    "normal": (),
    "big": ("big", "large", "huge"),
}
PLACES: dict[str, tuple[str, ...]] = {
    "center": (),
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top", "in the upper half"),
    "bottom": ("at the bottom", "in the lower half"),
}
# Where a single object is drawn that is not in the middle; what is named twice is twice as likely.
OFF_CENTER = ("left", "left", "right", "right", "top", "bottom")
RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
    "and": ("and", "next to", "beside"),
}
STYLES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "pixel art": ("pixel art",),
    "black and white": ("black and white", "monochrome"),
    "pencil sketch": ("pencil sketch", "pencil drawing"),
}
# style -> the ways it follows a caption without a comma
STYLE_ENDINGS: dict[str, tuple[str, ...]] = {
    "pixel art": ("as pixel art", "in pixel art style"),
    "black and white": ("in black and white",),
    "pencil sketch": ("as a pencil sketch", "drawn in pencil"),
}
MEDIA = ("a picture of", "an image of", "a photo of", "an illustration of")  # mean nothing here
# Words that say nothing about the picture: the model learns that a word it does not know does no harm.
FILLERS = ("nice", "lovely", "beautiful", "cute", "shiny", "detailed", "amazing", "funny", "great", "simple")
# Share of objects that are not moved from where their place says, per direction; the others by -1, 0 or 1 latents.
# A sprite that moves over the grid is as many pictures to learn as it has places: at 0.4 all of them were drawn softly.
STILL = 0.8
# Cumulative. Pixel art has most of what is not plain, since it was learned last: its squares are one latent each.
STYLE_SHARES = (("plain", 0.72), ("pixel art", 0.86), ("black and white", 0.91), ("pencil sketch", 1.0))
HELD_OUT_SHARE = 10  # one combination in so many is never drawn for training


@dataclass(frozen=True, kw_only=True)
class PlacedObject:
    """An object in the picture; `left`, `top` and `side` are pixels of its square box."""

    name: str
    size: str
    place: str
    left: int
    top: int
    side: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The truth about one picture. `relation`: how the first object stands to the second, None with fewer than two."""

    objects: tuple[PlacedObject, ...]
    relation: str | None
    background: str  # a key of BACKGROUNDS or of SCENES
    variant: int  # which drawing of a scene; 0 for flat colours
    style: str
    caption: str


def is_held_out(first: str, second: str) -> bool:
    """Whether no training picture shows this object on this background, or these two objects together.

    A tenth of all combinations, by a checksum of their names: whoever evaluates can ask for what was never seen.
    """
    return zlib.crc32("|".join(sorted((first, second))).encode()) % HELD_OUT_SHARE == 0


def draw_scene(seed: int, index: int) -> Scene:
    """Sample number `index` of the world `seed`, caption included; no held-out combination is among them."""
    rng = np.random.default_rng((seed, index))
    draw = rng.random()
    style = next(name for name, most in STYLE_SHARES if draw < most)
    draw = rng.random()
    relation = None
    if draw < 0.02:
        objects: tuple[PlacedObject, ...] = ()
    elif draw < 0.68:
        objects = (_single(rng),)
    else:
        objects, relation = _pair(rng)
    background = _background(rng)
    while any(is_held_out(placed.name, background) for placed in objects):
        background = _background(rng)
    variant = int(rng.integers(SCENE_VARIANTS)) if background in SCENES else 0
    caption = write_caption(rng, objects, relation, background, style)
    return Scene(
        objects=objects, relation=relation, background=background, variant=variant, style=style, caption=caption
    )


def plain_single(scene: Scene) -> int | None:
    """The number of its object in `OBJECTS` when it shows one big object, in no particular style; None for all others.

    That is the picture that no words ask for. Big ones alone, since they are the easiest to tell from one another: of
    the empty prompt's big ones the judge named twice as many as of those of normal size.
    """
    if len(scene.objects) != 1 or scene.style != "plain":
        return None
    only = scene.objects[0]
    return list(OBJECTS).index(only.name) if only.size == "big" else None


def _pick(rng: np.random.Generator, choices: object) -> str:
    names = list(choices)  # type: ignore[call-overload]
    return str(names[int(rng.integers(len(names)))])


def _background(rng: np.random.Generator) -> str:
    return _pick(rng, BACKGROUNDS) if rng.random() < 0.55 else _pick(rng, SCENES)


def _single(rng: np.random.Generator) -> PlacedObject:
    # Small ones and those at the left and the right have more than their share: they were learned last.
    draw = rng.random()
    size = "normal" if draw < 0.54 else "big" if draw < 0.70 else "small"
    place = "center" if size == "big" or rng.random() < 0.5 else _pick(rng, OFF_CENTER)
    return place_object(_pick(rng, OBJECTS), size, place, rng)


def place_object(name: str, size: str, place: str, rng: np.random.Generator) -> PlacedObject:
    """Puts an object of `size` at `place`, on the grid of the latents, with a little play."""
    side = SIZES[size]
    room = SIZE - side
    middle = room // 2 // GRID * GRID

    def free() -> int:
        play = 0 if size == "big" or rng.random() < STILL else int(rng.integers(-1, 2)) * GRID
        return int(np.clip(middle + play, 0, room))

    left, top = free(), free()
    if place in ("left", "top"):
        low = int(rng.integers(0, 2)) * GRID if size == "small" else 0
        left, top = (low, top) if place == "left" else (left, low)
    if place in ("right", "bottom"):
        high = room - (int(rng.integers(0, 2)) * GRID if size == "small" else 0)
        left, top = (high, top) if place == "right" else (left, high)
    return PlacedObject(name=name, size=size, place=place, left=left, top=top, side=side)


def _pair(rng: np.random.Generator) -> tuple[tuple[PlacedObject, ...], str]:
    first, second = (_pick(rng, OBJECTS) for _ in range(2))
    while first == second or is_held_out(first, second):
        second = _pick(rng, OBJECTS)
    relation = _pick(rng, RELATIONS)
    return pair_objects(first, second, relation, rng), relation


def pair_objects(first: str, second: str, relation: str, rng: np.random.Generator) -> tuple[PlacedObject, ...]:
    """Two objects of half the picture's width, the first in `relation` to the second; "and" is "left of"."""
    places = {
        "left of": ("left", "right"),
        "right of": ("right", "left"),
        "above": ("top", "bottom"),
        "below": ("bottom", "top"),
        "and": ("left", "right"),
    }[relation]
    a, b = (place_object(name, "half", place, rng) for name, place in zip((first, second), places, strict=True))
    return a, b


def with_article(name: str, adjective: str = "") -> str:
    """ "a fox", "an owl", "grapes"; with an adjective "a small owl", "small grapes"."""
    words = f"{adjective} {name}".strip()
    if name in WITHOUT_ARTICLE:
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _object_words(rng: np.random.Generator, placed: PlacedObject, with_size: bool, terse: bool) -> str:
    words = OBJECTS[placed.name]
    # The plain name most of the time; a synonym in a third of the captions of objects that have one.
    name = words[int(rng.integers(len(words)))] if words and rng.random() < 0.33 else placed.name
    if with_size and SIZE_WORDS[placed.size]:
        adjectives = SIZE_WORDS[placed.size]
        adjective = adjectives[0] if rng.random() < 0.6 else adjectives[int(rng.integers(len(adjectives)))]
        return f"{adjective} {name}" if terse else with_article(name, adjective)
    return name if terse else with_article(name)


def _first_mostly(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[0] if rng.random() < 0.5 else choices[int(rng.integers(len(choices)))]


def write_caption(
    rng: np.random.Generator,
    objects: tuple[PlacedObject, ...],
    relation: str | None,
    background: str,
    style: str,
) -> str:
    """Words for a scene in one of many orders, with and without articles; now and then the background stays unsaid.

    One caption in ten has a word or two more that mean nothing: a common one, one that is not drawn, or no word at all.
    """
    terse = rng.random() < 0.15  # "apple on red", as people type
    if len(objects) == 2 and relation is not None:
        first, second = (_object_words(rng, placed, with_size=False, terse=terse) for placed in objects)
        subject = f"{first} {_first_mostly(rng, RELATIONS[relation])} {second}"
    elif objects:
        subject = _object_words(rng, objects[0], with_size=True, terse=terse)
        if PLACES[objects[0].place]:
            subject = f"{subject} {_first_mostly(rng, PLACES[objects[0].place])}"
    else:
        subject = ""
    caption = _set_in_background(rng, subject, background)
    if rng.random() < 0.1:
        for _ in range(1 + int(rng.random() < 0.2)):
            caption = insert_word(rng, caption, _word_without_meaning(rng))
    if style != "plain":
        caption = _in_style(rng, caption, style)
    elif rng.random() < 0.08:
        caption = f"{MEDIA[int(rng.integers(len(MEDIA)))]} {caption}"
    return f"{caption}." if rng.random() < 0.03 else caption


def _in_style(rng: np.random.Generator, caption: str, style: str) -> str:
    word = _first_mostly(rng, STYLES[style])
    form = int(rng.integers(4))
    if form == 0:
        return f"{caption}, {word}"
    if form == 1:
        # "a pencil sketch of a fox", "pixel art of a fox", "black and white picture of a fox"
        noun = f"{word} picture" if style == "black and white" else word
        article = "a " if style != "pixel art" and rng.random() < 0.5 else ""
        return f"{article}{noun} of {caption}"
    if form == 2:
        return f"{word}, {caption}"
    return f"{caption} {_first_mostly(rng, STYLE_ENDINGS[style])}"


@lru_cache(maxsize=1)
def reserve_words() -> tuple[str, ...]:
    """The words of words.txt that no caption of this world needs."""
    text = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8")
    return tuple(word for line in text[text.index("## reserve") :].splitlines()[1:] for word in line.split())


def _word_without_meaning(rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < 0.4:
        return FILLERS[int(rng.integers(len(FILLERS)))]
    if draw < 0.7:
        return _pick(rng, reserve_words())
    # No word at all: to the vocabulary it looks as any word does that it lacks.
    return "".join(_pick(rng, "abcdefghijklmnopqrstuvwxyz") for _ in range(int(rng.integers(3, 10))))


@lru_cache(maxsize=1)
def _phrases() -> frozenset[tuple[str, str]]:
    """Pairs of words that belong together: "ice cream", "night sky", "left of"."""
    names = [*OBJECTS, *SCENES, *STYLES]
    names += [
        name for table in (OBJECTS, SCENES, SCENE_NOUNS, PLACES, RELATIONS) for row in table.values() for name in row
    ]
    pairs = [pair for name in names for pair in itertools.pairwise(name.split())]
    return frozenset(pair for pair in pairs if pair[0] not in ("a", "an", "the"))


def insert_word(rng: np.random.Generator, caption: str, word: str) -> str:
    """The caption with one more word somewhere in it, but not inside a name or a fixed phrase."""
    words = caption.split(" ")
    plain = [part.strip(",.") for part in words]
    gaps = [0, len(words), *(i for i in range(1, len(words)) if (plain[i - 1], plain[i]) not in _phrases())]
    words.insert(gaps[int(rng.integers(len(gaps)))], word)
    return " ".join(words)


# How a caption puts its subject before a scene or a flat colour, and how often.
SCENE_FORMS = (
    (0.06, "{subject}"),
    (0.56, "{subject} {phrase}"),
    (0.12, "{noun} with {subject}"),
    (0.12, "{phrase}, {subject}"),
    (0.07, "{noun}, {subject}"),
    (0.07, "{subject}, {noun}"),
)
FLAT_FORMS = (
    (0.06, "{subject}"),
    (0.40, "{subject} on {a_color} background"),
    (0.12, "{subject}, {color} background"),
    (0.10, "{a_color} background with {subject}"),
    (0.08, "{color} background, {subject}"),
    (0.06, "{subject} with {a_color} background"),
    (0.06, "{subject} in front of {a_color} background"),
    (0.12, "{subject} on {color}"),
)


def _set_in_background(rng: np.random.Generator, subject: str, background: str) -> str:
    if background in SCENES:
        noun, phrase = (_first_mostly(rng, names[background]) for names in (SCENE_NOUNS, SCENES))
        if not subject:
            return noun
        return _choose(rng, SCENE_FORMS).format(subject=subject, noun=noun, phrase=phrase)
    words = BACKGROUND_SYNONYMS.get(background, ())
    color = words[0] if words and rng.random() < 0.3 else background
    if not subject:
        return f"{with_article(color)} background"
    return _choose(rng, FLAT_FORMS).format(subject=subject, color=color, a_color=with_article(color))


def _choose(rng: np.random.Generator, forms: tuple[tuple[float, str], ...]) -> str:
    draw = rng.random()
    for share, form in forms:
        draw -= share
        if draw < 0:
            return form
    return forms[-1][1]


# ------------------------------------------------------------------------------------------------ drawing


def render(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB, 128 x 128."""
    image = background_image(scene.background, scene.variant).copy()
    for placed in scene.objects:
        sprite = sprite_image(placed.name, placed.side)
        image.paste(sprite, (placed.left, placed.top), sprite)
    return in_style(image, scene.style)


def in_style(image: Image.Image, style: str, scale: int = 1) -> Image.Image:
    """A plain drawing as the style shows it; its sides are multiples of 8 * scale, `scale` times those of a picture."""
    if style == "pixel art":
        # A big pixel is a latent: finer ones (4 were tried) come out of the autoencoder as any soft picture does.
        square = GRID * scale
        coarse = image.resize((image.width // square, image.height // square), Image.Resampling.BOX)
        return coarse.resize(image.size, Image.Resampling.NEAREST)
    if style == "black and white":
        return image.convert("L").convert("RGB")
    if style == "pencil sketch":
        return _pencil_sketch(image, scale)
    return image


def _pencil_sketch(image: Image.Image, scale: int) -> Image.Image:
    """Dark strokes where brightness changes, and a light shading elsewhere, on warm paper."""
    gray = image.convert("L")
    light = np.asarray(gray, dtype=np.float32)
    soft = np.asarray(gray.filter(ImageFilter.GaussianBlur(3 * scale)), dtype=np.float32)
    strokes = np.clip((light + 8) / (soft + 8), 0.0, 1.0) ** 2
    tone = strokes * (0.62 + 0.38 * light / 255)
    paper = np.array((252, 248, 238), dtype=np.float32)
    return Image.fromarray((tone[..., None] * paper).astype(np.uint8))


@lru_cache(maxsize=512)
def sprite_image(name: str, side: int) -> Image.Image:
    """The sprite fitted into a square box of `side` pixels, RGBA."""
    with Image.open(SPRITES / f"{name.replace(' ', '-')}.png") as file:
        sprite = file.convert("RGBA")
    left, top, width, height = fit(sprite.size, side)
    box = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    box.paste(sprite.resize((width, height), Image.Resampling.LANCZOS), (left, top))
    return box


def fit(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of a drawing of `size` in the middle of a square box of `side` pixels."""
    width, height = (max(1, round(length * (side / max(size)))) for length in size)
    return (side - width) // 2, (side - height) // 2, width, height


@lru_cache(maxsize=128)
def background_image(name: str, variant: int = 0, scale: int = 1) -> Image.Image:
    """A flat colour or drawing number `variant` of a scene, RGB, 128 x 128; `scale` times as large when it is given."""
    size = SIZE * scale
    if name in BACKGROUNDS:
        return Image.new("RGB", (size, size), BACKGROUNDS[name])
    # Drawn four times too large and shrunk, for smooth edges.
    big = size * 4
    drawing = {
        "meadow": _meadow,
        "sea": _sea,
        "desert": _desert,
        "snow": _snow,
        "night sky": _night_sky,
        "sunset": _sunset,
    }[name]
    return drawing(big, variant).resize((size, size), Image.Resampling.BOX)


def _sky(big: int, top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Image.Image:
    ramp = np.linspace(0.0, 1.0, big)[:, None, None]
    colors = (1 - ramp) * np.array(top) + ramp * np.array(bottom)
    return Image.fromarray(np.broadcast_to(colors, (big, big, 3)).astype(np.uint8).copy())


def _hill(
    draw: ImageDraw.ImageDraw, big: int, level: float, height: float, phase: float, color: tuple[int, int, int]
) -> None:
    xs = np.arange(0, big + 8, 8)
    ys = big * (level + height * np.sin(2 * math.pi * (xs / big * 0.9 + phase)))
    outline = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
    draw.polygon([*outline, (big, big), (0, big)], fill=color)


def _meadow(big: int, variant: int) -> Image.Image:
    image = _sky(big, (126, 196, 245), (206, 234, 250))
    draw = ImageDraw.Draw(image)
    _hill(draw, big, 0.58, 0.05, 0.25 * variant, (128, 190, 84))
    _hill(draw, big, 0.70, 0.04, 0.25 * variant + 0.5, (98, 168, 66))
    rng = np.random.default_rng((11, variant))
    for _ in range(14):
        x, y, r = rng.random() * big, big * (0.78 + 0.2 * rng.random()), big * 0.012
        color = ((255, 255, 255), (250, 220, 90), (240, 150, 190))[int(rng.integers(3))]
        draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
    return image


def _sea(big: int, variant: int) -> Image.Image:
    image = _sky(big, (150, 208, 240), (216, 238, 248))
    draw = ImageDraw.Draw(image)
    for band, color in enumerate(((58, 140, 200), (44, 120, 186), (34, 102, 170), (26, 86, 152))):
        level = 0.45 + 0.14 * band
        xs = np.arange(0, big + 8, 8)
        ys = big * (level + 0.018 * np.sin(2 * math.pi * (xs / big * 4 + 0.25 * variant + 0.4 * band)))
        draw.polygon([*((float(x), float(y)) for x, y in zip(xs, ys, strict=True)), (big, big), (0, big)], fill=color)
    return image


def _desert(big: int, variant: int) -> Image.Image:
    image = _sky(big, (246, 214, 160), (252, 236, 200))
    draw = ImageDraw.Draw(image)
    _hill(draw, big, 0.55, 0.06, 0.25 * variant, (226, 178, 104))
    _hill(draw, big, 0.68, 0.05, 0.25 * variant + 0.4, (212, 158, 84))
    _hill(draw, big, 0.84, 0.04, 0.25 * variant + 0.75, (196, 140, 70))
    return image


def _snow(big: int, variant: int) -> Image.Image:
    image = _sky(big, (150, 170, 200), (200, 212, 228))
    draw = ImageDraw.Draw(image)
    _hill(draw, big, 0.60, 0.05, 0.25 * variant, (228, 236, 246))
    _hill(draw, big, 0.74, 0.04, 0.25 * variant + 0.5, (246, 249, 253))
    rng = np.random.default_rng((13, variant))
    for _ in range(24):
        x, y, r = rng.random() * big, 0.6 * big * rng.random(), big * 0.011
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255))
    return image


def _night_sky(big: int, variant: int) -> Image.Image:
    image = _sky(big, (14, 18, 52), (44, 48, 104))
    draw = ImageDraw.Draw(image)
    rng = np.random.default_rng((17, variant))
    for _ in range(30):
        x, y, r = rng.random() * big, rng.random() * big, big * (0.006 + 0.006 * rng.random())
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 250, 220))
    return image


def _sunset(big: int, variant: int) -> Image.Image:
    image = _sky(big, (92, 62, 130), (255, 150, 70))
    draw = ImageDraw.Draw(image)
    x, y, r = big * (0.2 + 0.2 * variant), big * 0.72, big * 0.13
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 222, 120))
    _hill(draw, big, 0.76, 0.02, 0.25 * variant, (70, 40, 80))
    return image
