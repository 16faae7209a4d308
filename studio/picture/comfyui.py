"""ComfyUI's graph: a plain run is read as fields, and every other kind of node is named with what it was set to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.picture.file_settings import FileSettings, Remark

NAME = "ComfyUI"

# ComfyUI's names of samplers, which SwarmUI and Fooocus use too.
SAMPLERS: Mapping[str, str] = {
    "euler_ancestral": "euler_a", "dpm_2": "dpm2", "dpm_2_ancestral": "dpm2_a", "uni_pc": "unipc",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde", "dpmpp_3m_sde_gpu": "dpmpp_3m_sde", "dpmpp_sde_gpu": "dpmpp_sde",
    "dpmpp_2m_sde_heun_gpu": "dpmpp_2m_sde_heun", "dpmpp_2s_ancestral": "dpmpp_2s_a",
}  # fmt: skip
_KSAMPLER = {
    "seed": "seed", "noise_seed": "seed", "steps": "num_inference_steps", "cfg": "guidance_scale",
    "sampler_name": "scheduler", "scheduler": "noise_schedule",
}  # fmt: skip
# The rest of KSamplerAdvanced's inputs, with the values at which they change nothing.
_ADVANCED = {
    "add_noise": ("enable", True), "start_at_step": (0,), "end_at_step": (), "return_with_leftover_noise": (
        "disable", False)
}  # fmt: skip
_SAMPLERS_OF_GRAPHS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
# Where the two custom samplers have the inputs of the plain one: their input, the kinds of node that it leads to, and
# what is taken from them, by the plain sampler's names.
_CUSTOM_PARTS: tuple[tuple[str, tuple[str, ...], Mapping[str, str]], ...] = (
    ("noise", ("RandomNoise",), {"noise_seed": "noise_seed"}),
    ("guider", ("CFGGuider",), {"model": "model", "positive": "positive", "negative": "negative", "cfg": "cfg"}),
    ("guider", ("BasicGuider",), {"model": "model", "conditioning": "positive"}),
    ("sampler", ("KSamplerSelect",), {"sampler_name": "sampler_name"}),
    ("sigmas", ("BasicScheduler",), {"scheduler": "scheduler", "steps": "steps", "denoise": "denoise"}),
)
_LORAS = ("LoraLoader", "LoraLoaderModelOnly")
_ENDS = ("SaveImage", "PreviewImage", "SaveImageWebsocket", "SaveAnimatedWEBP")
# Nodes that the fields stand for, or that are no setting; any other is named.
_KNOWN_NODES = {
    *_SAMPLERS_OF_GRAPHS, *_LORAS, *_ENDS,
    "CheckpointLoaderSimple", "EmptyLatentImage", "CLIPTextEncode", "VAEDecode", "CLIPSetLastLayer", "Note",
    "MarkdownNote", "Reroute",
}  # fmt: skip
MAX_NODES = 2_000
_MOST_ORDERED = 32  # samplers of one graph: each costs a walk through it
_ELSEWHERE = Remark("elsewhere")
_NODE = Remark("node")
_UNUSED = Remark("unused")


def is_graph(nodes: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a graph as ComfyUI runs it."""
    return any(isinstance(node, Mapping) and "class_type" in node for node in nodes.values())


class _Graph:
    """The nodes by their keys, and what their links lead to."""

    def __init__(self, nodes: Mapping[str, Any]) -> None:
        self.nodes = {key: node for key, node in nodes.items() if isinstance(node, Mapping)}

    def kind(self, key: object) -> str:
        return str(self.nodes.get(str(key), {}).get("class_type"))

    def inputs(self, key: object) -> Mapping[str, Any]:
        inputs = self.nodes.get(str(key), {}).get("inputs")
        return inputs if isinstance(inputs, Mapping) else {}

    def of(self, link: object, *kinds: str) -> Mapping[str, Any]:
        """The inputs of the nearest node of some kinds that a link leads to."""
        return next((self.inputs(key) for key in self.reached(link) if self.kind(key) in kinds), {})

    def reached(self, *links: object) -> list[str]:
        """The keys of all nodes that some links lead to, the nearest first; a circle ends where it began."""
        waiting, visited = list(links), dict[str, None]()
        for link in waiting:  # grows while it is walked through
            key = _target(link)
            if key is not None and key in self.nodes and key not in visited:
                visited[key] = None
                waiting += [value for value in self.inputs(key).values() if isinstance(value, list)]
        return list(visited)

    def text(self, value: object) -> object:
        """A text, or that of the node which a link leads to, where the node has exactly one."""
        for _ in range(8):
            if not isinstance(value, list):
                return value
            inputs = self.inputs(_target(value))
            texts = [v for k, v in inputs.items() if k in ("text", "string", "value", "prompt", "Text")]
            if len(texts) != 1:
                return value
            value = texts[0]
        return value


def _target(link: object) -> str | None:
    return str(link[0]) if isinstance(link, list) and link else None


def graph_settings(nodes: Mapping[str, Any]) -> FileSettings:
    """What a graph tells: the sampler that makes the picture from noise, and what its inputs lead to."""
    graph, settings = _Graph(nodes), FileSettings()
    if len(graph.nodes) > MAX_NODES:
        settings.leave("prompt", f"{len(graph.nodes):,} nodes", Remark("nodes", {"most": f"{MAX_NODES:,}"}))
        return settings
    samplers = _samplers(graph)
    first = samplers[0] if samplers else None
    sampler = _inputs_of_sampler(graph, first) if first is not None else {}
    if len(samplers) > 1:
        settings.remarks.append(Remark("samplers", {"count": str(len(samplers))}))
    for key, value in sampler.items():
        _take_input(settings, graph, key, value)
    prompts = {"positive": "prompt", "negative": "negative_prompt"}
    for key, name in prompts.items():
        text = graph.text(graph.of(sampler.get(key), "CLIPTextEncode").get("text"))
        if isinstance(text, list):
            settings.leave(key, "from another node", _ELSEWHERE)
        else:
            settings.add(name, text, key)
    settings.add("checkpoint", graph.of(sampler.get("model"), "CheckpointLoaderSimple").get("ckpt_name"), "ckpt_name")
    size = graph.of(sampler.get("latent_image"), "EmptyLatentImage")
    for name in ("width", "height"):
        settings.add(name, graph.text(size.get(name)), name)
    layer = graph.of(graph.of(sampler.get("positive"), "CLIPTextEncode").get("clip"), "CLIPSetLastLayer")
    stop = layer.get("stop_at_clip_layer")
    settings.add("clip_skip", -stop if type(stop) is int else stop, "stop_at_clip_layer")
    used = graph.reached(sampler.get("model"), sampler.get("positive"), sampler.get("negative"))
    parts = _parts_of_sampler(graph, first)
    loras = [key for key in reversed(used) if graph.kind(key) in _LORAS]  # that next to the checkpoint first
    for key in [*loras, *(key for key in graph.nodes if key not in loras)]:
        if key in loras:
            one = graph.inputs(key)
            unet = one.get("strength_model")
            text_encoders = one.get("strength_clip", 0 if graph.kind(key) == "LoraLoaderModelOnly" else unet)
            settings.add_lora(one.get("lora_name"), text_encoders, graph.kind(key), unet)
        elif graph.kind(key) in _LORAS:
            settings.leave(graph.kind(key), graph.inputs(key).get("lora_name"), _UNUSED)
        elif graph.kind(key) not in _KNOWN_NODES and key not in parts:
            inputs = [f"{k}={v}" for k, v in graph.inputs(key).items() if not isinstance(v, list)]
            settings.leave(graph.kind(key), ", ".join(inputs) or "a node", _NODE)
    return settings


def _samplers(graph: _Graph) -> list[str]:
    """The samplers that an output is made of, that which begins with noise first: one that goes on with the latents of
    another comes after it. Without outputs, all of them."""
    ends = [key for key in graph.nodes if graph.kind(key) in _ENDS]
    used = graph.reached(*([key] for key in ends)) if ends else list(graph.nodes)
    reached = set(used)
    samplers = [key for key in graph.nodes if key in reached and graph.kind(key) in _SAMPLERS_OF_GRAPHS]
    few = samplers[:_MOST_ORDERED]
    before = {key: len(reached.intersection(few, graph.reached(_latent_of(graph, key)))) for key in few}
    return sorted(few, key=lambda key: before[key]) + samplers[_MOST_ORDERED:]


def _latent_of(graph: _Graph, key: str) -> object:
    return graph.inputs(key).get("latent_image")


def _inputs_of_sampler(graph: _Graph, key: str) -> dict[str, Any]:
    """A sampler's inputs; those of a custom sampler by the names that the plain one has for them."""
    inputs = dict(graph.inputs(key))
    if not graph.kind(key).startswith("SamplerCustom"):
        return inputs
    inputs.pop("add_noise", None)
    for part, kinds, names in _CUSTOM_PARTS:
        node = graph.of(inputs.get(part), *kinds)
        inputs |= {plain: node[name] for name, plain in names.items() if name in node}
    return inputs


def _parts_of_sampler(graph: _Graph, key: str | None) -> set[str]:
    """The nodes that hold the inputs of a custom sampler."""
    kinds = {kind for _, kinds, _ in _CUSTOM_PARTS for kind in kinds}
    links = [graph.inputs(key).get(part) for part, _, _ in _CUSTOM_PARTS]
    return {one for one in graph.reached(*links) if graph.kind(one) in kinds}


def _take_input(settings: FileSettings, graph: _Graph, key: str, value: object) -> None:
    name = _KSAMPLER.get(key)
    if name is not None:
        value = graph.text(value)
        if isinstance(value, list):
            settings.leave(key, "from another node", _ELSEWHERE)
        else:
            settings.add(name, SAMPLERS.get(str(value), value) if name == "scheduler" else value, key)
    elif key == "denoise" and value != 1:
        settings.add("strength", value, key)
    elif key in _ADVANCED and value not in _ADVANCED[key] and not (key == "end_at_step" and _beyond(value)):
        settings.leave(key, str(value))


def _beyond(step: object) -> bool:
    """Whether it is the last step of every run, as ComfyUI writes it."""
    return isinstance(step, int) and step >= 10_000
