"""What is asked to enlarge a picture: by which upscaler, how many times, or to which size.

Plain data: no torch, no page. Sizes are (width, height) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.asked.messages import Message
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem, Range, quoted_value

LANCZOS = "lanczos"  # the upscaler that is no file
# What a request's `upscale` may say beside the name of an upscaler. Automatic is the upscaler that came with the
# checkpoint, for a picture that is made once and has at most MAX_AUTOMATIC_PIXELS.
NO_UPSCALER, AUTOMATIC_UPSCALER = "none", "automatic"
MAX_AUTOMATIC_PIXELS = 256 * 256
FACTOR = Range(low=1, high=8)
SIDE = Range(low=1, high=16_384, whole=True)
MAX_PIXELS = 2**26  # of the result: 8192 x 8192
MAX_NETWORK_PIXELS = 2**28  # of what a network makes before it is brought to its size
MAX_NAME_CHARACTERS = 500

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Upscale:
    """Enlarge a picture. Answered by a PNG file, `studio.answered.engine.Answer`.

    `image`: bytes of a PNG, JPEG, WebP or GIF file. `upscaler`: a name of the listing, or "lanczos". `factor`: 1 to 8;
    where `width` and `height` say a size, that counts instead: the picture is enlarged until it covers it, and `crop`
    cuts off what is over. The studio's to say, not the visitor's: `models`, ids of the upscalers that may be named
    (None: all), and `most_pixels` of the result.
    """

    image: bytes
    upscaler: str = LANCZOS
    factor: float = 2.0
    width: int | None = None
    height: int | None = None
    crop: bool = True
    models: tuple[str, ...] | None = None
    most_pixels: int = MAX_PIXELS

    def problems(self) -> list[Problem]:
        """Everything that is wrong with the fields; empty when they are as allowed."""
        problems = []
        if not 0 < len(self.image) <= MAX_IMAGE_BYTES:
            size = Message("a file of {count} MiB", count=f"{len(self.image) / 2**20:.1f}") if self.image else "nothing"
            expectation = Message("a PNG, JPEG, WebP or GIF file of at most {most} MiB", most=MAX_IMAGE_BYTES // 2**20)
            problems.append(Problem("image", size, expectation))
        if not isinstance(self.upscaler, str) or not 0 < len(self.upscaler) <= MAX_NAME_CHARACTERS:
            expectation = Message("the name of an upscaler, or lanczos")
            problems.append(Problem("upscaler", quoted_value(self.upscaler), expectation))
        if not self.has_size and not FACTOR.holds(self.factor):
            problems.append(Problem("factor", quoted_value(self.factor), FACTOR.describe()))
        for name, value in (("width", self.width), ("height", self.height)):
            if self.has_size and not SIDE.holds(value):
                problems.append(Problem(name, quoted_value(value), SIDE.describe()))
        if not isinstance(self.crop, bool):
            problems.append(Problem("crop", quoted_value(self.crop), Message("true or false")))
        return problems

    @property
    def has_size(self) -> bool:
        """Whether a size is asked for, and no factor."""
        return self.width is not None or self.height is not None

    def sizes(self, picture: Size) -> tuple[Size, Size]:
        """The whole picture's size once it is enlarged, and the size of what is shown of it. Raises InvalidRequest for
        a result that is too large, or smaller than the picture."""
        if self.width is not None and self.height is not None:
            factor = max(self.width / picture[0], self.height / picture[1])
        else:
            factor = self.factor
        whole = max(1, round(picture[0] * factor)), max(1, round(picture[1] * factor))
        shown = (self.width, self.height) if self.width and self.height and self.crop else whole
        field = "width" if self.has_size else "factor"
        asked = _text(shown) if self.has_size else f"{self.factor:g}"
        value = Message("{asked} for a picture of {size}", asked=asked, size=_text(picture))
        if factor < FACTOR.low:
            raise InvalidRequest(Problem(field, value, Message("a size that is at least the picture's")))
        if max(whole) > SIDE.high or whole[0] * whole[1] > self.most_pixels:
            expectation = Message(
                "a result of at most {side} pixels a side and {most} million pixels",
                side=f"{SIDE.high:,.0f}",
                most=self.most_pixels // 10**6,
            )
            raise InvalidRequest(Problem(field, value, expectation))
        return whole, shown

    def check_network(self, picture: Size, scale: int) -> None:
        """Raises InvalidRequest for a picture that a network of this scale would make too large on the way."""
        if picture[0] * picture[1] * scale**2 > MAX_NETWORK_PIXELS:
            value = Message("{name}, which makes pictures {scale} times as large,", name=self.upscaler, scale=scale)
            expectation = Message(
                "with it a picture of at most {most} million pixels",
                most=f"{MAX_NETWORK_PIXELS / scale**2 / 1e6:.1f}",
            )
            raise InvalidRequest(Problem("upscaler", value, expectation))


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
