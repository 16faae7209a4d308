"""A band of guidance in the engine: lanes whose rows change go on together, and a run says what its band saves."""

from __future__ import annotations

from typing import Any

from studio.answered.events import Finished, Started
from studio.asked.fields import TextToImage
from tests.engine.conftest import EngineFactory, finish, pixels, run

FIELDS: dict[str, Any] = {
    "prompt": "a red fox", "negative_prompt": "snow", "checkpoint": "tiny", "seed": 5, "num_inference_steps": 6,
    "width": 64, "height": 64, "scheduler": "euler", "noise_schedule": "normal", "guidance_scale": 12.0,
}  # fmt: skip


def test_a_run_says_what_its_band_saves_and_which_fields_do_nothing(make_engine: EngineFactory) -> None:
    engine = make_engine()
    banded = FIELDS | {"guidance_low": 0.8, "guidance_high": 6.0}
    events = run(engine, TextToImage(**banded, num_images_per_prompt=3, apg_eta=0.5))
    started = next(event for event in events if isinstance(event, Started))
    assert "apg_eta does nothing without APG." in started.notes
    assert any(
        note.startswith("Guidance acts in ") and note.endswith(" of 12 rows of the U-Net are not computed.")
        for note in started.notes
    )
    together = events[-1]
    assert isinstance(together, Finished)
    alone = finish(engine, TextToImage(**banded | {"seed": 6}, exact=True))  # the second of the three
    difference = abs(pixels(engine, together, 1).astype(int) - pixels(engine, alone).astype(int))
    assert (difference <= 1).mean() >= 0.999
    unguided = run(engine, TextToImage(**FIELDS | {"guidance_scale": 1.0}, guidance_rescale=0.5))
    notes = next(event for event in unguided if isinstance(event, Started)).notes
    assert any(note.startswith("guidance_rescale does nothing here") for note in notes)
