"""Frames on a pair of pipes: a length of four bytes, then a tuple as `studio.answered.codec` writes it.

To the child: ("call", number, method, arguments, named arguments), ("drop", number), ("watch", number, job, owner),
("unwatch", number), ("visitor", owner, here), ("start",), ("close",). From the child: ("returned", number, value),
("raised", number, error), ("event", number, event), ("now", status, catalogue or None, ids of active jobs, jobs that
have ended since), of each ended job its owner, its summary and its events as bytes.
"""

from __future__ import annotations

import struct
from typing import IO, Any

from studio.answered.codec import BadMessage, decode, encode

MAX_FRAME_BYTES = 2**31


def to_frame(message: tuple[Any, ...]) -> bytes:
    """The bytes of a message. Raises BadMessage for what is no plain data, or too large."""
    body = encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise BadMessage(f"A message of {len(body):,} bytes is too large.")
    return struct.pack("<I", len(body)) + body


def write_frame(pipe: IO[bytes], frame: bytes) -> None:
    """Raises OSError or ValueError when nobody reads any more."""
    pipe.write(frame)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> tuple[Any, ...] | None:
    """The next message; None at the end. Raises BadMessage for other bytes."""
    head = pipe.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack("<I", head)
    body = pipe.read(length)
    if len(body) < length:
        return None
    message = decode(body)
    if not isinstance(message, tuple) or not message:
        raise BadMessage("A message is a tuple that begins with its name.")
    return message
