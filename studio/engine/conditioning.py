"""What steers a run beside its noise: encoded prompts, the LoRAs that they name, and ControlNets with their maps.

Prompts are kept encoded, so that the same words are not encoded twice for one checkpoint.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from studio.asked.control import Control
from studio.asked.messages import Message
from studio.asked.prompt import Prompt
from studio.asked.resolved import Resolved
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.extras import Extras
from studio.checkpoints.manager import ModelManager
from studio.diffusion.components import Components
from studio.diffusion.controlnet import AppliedControl, applied_control
from studio.diffusion.lora import AppliedAdapter
from studio.diffusion.prompt import Conditioning, encode_prompts
from studio.diffusion.tokens import token_table
from studio.picture.control_maps import ControlPicture
from studio.picture.framing import Start

CACHED_PROMPTS = 64


class Conditioner:
    """Makes conditioning for the loaded checkpoint, and keeps what it has read and encoded until `forget`."""

    def __init__(self, catalog: Catalog, manager: ModelManager, tokenizer_lock: AbstractContextManager[Any]) -> None:
        """The lock is held while a prompt is encoded."""
        self.extras = Extras(catalog, manager)
        self._tokenizer_lock = tokenizer_lock
        self._prompts: OrderedDict[Hashable, Conditioning] = OrderedDict()

    def forget(self) -> None:
        """Let go of everything that belongs to the checkpoint."""
        self._prompts.clear()
        self.extras.forget()

    def adapters(
        self, components: Components, prompt: Prompt, models: Sequence[str] | None = None
    ) -> tuple[AppliedAdapter, ...]:
        """The LoRAs that a prompt names, of `models` (ids; None: all). Raises as `Extras.applied`."""
        return self.extras.load_adapters(components, prompt.loras, models)

    def encode(
        self,
        components: Components,
        resolved: Resolved,
        adapters: Sequence[AppliedAdapter],
        models: Sequence[str] | None = None,
    ) -> Conditioning:
        """The prompts of a run encoded. `models`: ids of the embeddings that they may name; None: all."""
        two_halves = components.branches(resolved.guidance_scale) == 2 or resolved.prompt.is_composed
        prompts = (resolved.prompt, resolved.negative_prompt) if two_halves else (resolved.prompt,)
        components.words = words = self.extras.words(components, [prompt.words for prompt in prompts])
        parts = tuple((one.adapter.identity, one.text_scale) for one in adapters)
        # Only prompt scheduling depends on the steps.
        plain = all(prompt.is_plain for prompt in prompts)
        steps = None if plain else (resolved.steps, resolved.steps_before)
        # What has to be bit-equal is encoded with all threads, the rest maybe with fewer.
        exact = resolved.request.exact
        key = (components.name, resolved.encoding_key(guided=two_halves), steps, parts, words.version, models, exact)
        if key not in self._prompts:
            with self._tokenizer_lock:
                self._prompts[key] = encode_prompts(
                    components,
                    resolved.prompt,
                    resolved.negative_prompt,
                    num_steps=resolved.steps,
                    guidance_scale=resolved.guidance_scale,
                    adapters=adapters,
                    steps_before=resolved.steps_before,
                    clip_skip=resolved.clip_skip,
                    models=models,
                )
        self._prompts.move_to_end(key)
        while len(self._prompts) > CACHED_PROMPTS:
            self._prompts.popitem(last=False)
        return self._prompts[key]

    def token_table(self, components: Components, conditioning: Conditioning, steps: int) -> list[dict[str, Any]]:
        """The prompt of a run of `steps` steps token by token: `studio.diffusion.tokens.token_table`."""
        with self._tokenizer_lock:
            return token_table(components, conditioning.prompt, steps)

    def controlnet_files(self, controls: Sequence[Control]) -> dict[str, Hashable]:
        """What changes when one of these controls' ControlNets is replaced on disk, by its name. Raises
        InvalidRequest."""
        return {control.model: self.extras.controlnet_file(control.model) for control in controls}

    def controls(
        self,
        components: Components,
        resolved: Resolved,
        pictures: Sequence[ControlPicture],
        start: Start | None,
        loading: Callable[[str], None] = lambda message: None,
        earlier: Sequence[AppliedControl] = (),
    ) -> tuple[AppliedControl, ...]:
        """The ControlNets of a run with their maps at the size that is made. `start` is what a run from a picture
        begins with; `loading` is told of a ControlNet that has to be read first; `earlier` are those of the run at
        another size, whose modules it goes on with. Raises as `Extras.controlnet`."""
        controlnets = []
        for number, (control, picture) in enumerate(zip(resolved.request.controls, pictures)):
            if not earlier and not self.extras.has_controlnet(control.model):
                loading(Message("Loading the ControlNet {model}", model=control.model))
            condition = picture.map_at(resolved.size, resolved.resize_mode, start)
            net = earlier[number].net if earlier else self.extras.controlnet(components, control.model)
            controlnets.append(applied_control(components, net, control, condition))
        return tuple(controlnets)
