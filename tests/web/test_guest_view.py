"""What a guest is told of the models, by what the owner lets them use."""

from __future__ import annotations

from studio.answered.models import MemoryUse, ModelsNow
from studio.web import guest_view
from tests.ui.fake_models import CATALOG, MODELS


def test_the_fast_lora_is_shown_only_to_those_who_may_use_it() -> None:
    built_in = CATALOG[0]
    assert built_in.fast_lora
    [without] = guest_view.checkpoints(CATALOG, (built_in.id,))
    assert (without.fast_lora, without.fast_lora_id) == ("", "")
    [with_it] = guest_view.checkpoints(CATALOG, (built_in.id, built_in.fast_lora_id))
    assert (with_it.fast_lora, with_it.fast_lora_id) == (built_in.fast_lora, built_in.fast_lora_id)
    assert guest_view.checkpoints(CATALOG, None)[0].fast_lora == built_in.fast_lora


def test_a_guest_sees_the_vaes_that_they_may_name() -> None:
    tiny = CATALOG[1]
    assert (tiny.vaes, tiny.vae_ids) == (("soft-vae",), ("soft-vaexxxxxxxx",))
    [without] = guest_view.checkpoints(CATALOG, (tiny.id,))
    assert (without.vaes, without.vae_ids) == ((), ())
    [with_it] = guest_view.checkpoints(CATALOG, (tiny.id, *tiny.vae_ids))
    assert (with_it.vaes, with_it.vae_ids) == (tiny.vaes, tiny.vae_ids)
    assert (with_it.upscalers, with_it.upscaler_ids) == ((), ())
    [with_upscaler] = guest_view.checkpoints(CATALOG, (tiny.id, *tiny.upscaler_ids))
    assert with_upscaler.upscalers == ("small-world-4x",)


def test_a_guest_learns_the_trigger_words_of_a_lora_but_not_what_it_was_trained_with() -> None:
    [lora] = [one for one in MODELS if one.name == "ink-lines"]
    assert lora.facts.tags
    now = ModelsNow(models=MODELS, memory=MemoryUse())
    [seen] = guest_view.listing(now, (lora.id,)).models
    assert (seen.trigger_words, seen.has_picture, seen.where, seen.facts.tags) == (("ink lines",), True, "", ())
    assert guest_view.listing(now, ()).models == ()
