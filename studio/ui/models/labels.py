"""What people call what a model file is: its family, its form, its parts; and its metadata as rows of term and value."""

from __future__ import annotations

from studio.answered.model_facts import ModelFacts
from studio.families.registry import label_of
from studio.ui.text import say


def family(name: str | None) -> str:
    """"SD 1", "SDXL", ...; "" where it is not known. A proper name, which the family's own file says."""
    return label_of(name)


def form(facts: ModelFacts) -> str:
    """"safetensors", "diffusers folder", "pickle"; "" where it was not looked into, and may be anything."""
    return "" if facts.refused and facts.form != "pickle" else say(f"models.form.{facts.form}")


def parts(facts: ModelFacts) -> list[str]:
    """"U-Net", "VAE", "text encoder", ..."""
    return [say(f"models.part.{part}") for part in facts.parts]


def metadata(facts: ModelFacts) -> list[tuple[str, str]]:
    """What the file says of itself: what matters for a run first, then its own metadata under its own terms."""
    first = [
        (say("models.metadata.architecture"), facts.architecture),
        (say("models.metadata.scale"), f"{facts.scale}x" if facts.scale is not None else ""),
        (say("models.metadata.distilled"), facts.distillation or ""),
        (say("models.metadata.trigger"), facts.trigger),
        (say("models.metadata.made_for"), say("models.metadata.inpainting") if facts.inpainting else ""),
    ]
    return [*((term, value) for term, value in first if value), *facts.metadata]
