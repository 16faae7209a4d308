"""The names and shapes of the tensors that a part has by its config, without making its module. No torch.

diffusers' U-Nets and VAEs of Stable Diffusion's families, and CLIP's text encoders in transformers' names. A config
that asks for something else has no answer here; its module alone knows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Shapes = dict[str, tuple[int, ...]]
Config = Mapping[str, Any]

# Of a U-Net's config what changes its tensors and is not known here, with the value that changes nothing.
_PLAIN_UNET: Mapping[str, tuple[object, ...]] = {
    "act_fn": ("silu",),
    "addition_embed_type": (None, "text_time"),
    "attention_type": ("default",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_act_fn": (None,),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("positional",),
}
_DOWN = {"DownBlock2D": False, "CrossAttnDownBlock2D": True}  # whether a block has attention
_UP = {"UpBlock2D": False, "CrossAttnUpBlock2D": True}
_MIDDLE = {"UNetMidBlock2D": False, "UNetMidBlock2DCrossAttn": True}


def shapes_by_config(class_name: str, config: Config) -> Shapes | None:
    """Name and shape of every tensor of a part of this class and config; None where that is not known here."""
    make = _MAKERS.get(class_name)
    try:
        return make(config) if make is not None else None
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        return None


# ----------------------------------------------------------------------------------------------------------- pieces


def _linear(shapes: Shapes, name: str, out: int, into: int, *, bias: bool = True) -> None:
    shapes[f"{name}.weight"] = (out, into)
    if bias:
        shapes[f"{name}.bias"] = (out,)


def _conv(shapes: Shapes, name: str, out: int, into: int, side: int = 3) -> None:
    shapes[f"{name}.weight"] = (out, into, side, side)
    shapes[f"{name}.bias"] = (out,)


def _norm(shapes: Shapes, name: str, width: int) -> None:
    shapes[f"{name}.weight"] = (width,)
    shapes[f"{name}.bias"] = (width,)


def _resnet(shapes: Shapes, name: str, into: int, out: int, time: int | None) -> None:
    _norm(shapes, f"{name}.norm1", into)
    _conv(shapes, f"{name}.conv1", out, into)
    if time is not None:
        _linear(shapes, f"{name}.time_emb_proj", out, time)
    _norm(shapes, f"{name}.norm2", out)
    _conv(shapes, f"{name}.conv2", out, out)
    if into != out:
        _conv(shapes, f"{name}.conv_shortcut", out, into, 1)


def _transformer(shapes: Shapes, name: str, width: int, heads: int, depth: int, cross: int, *, linear: bool) -> None:
    inner = heads * (width // heads)
    _norm(shapes, f"{name}.norm", width)
    for end, out, into in (("proj_in", inner, width), ("proj_out", width, inner)):
        _linear(shapes, f"{name}.{end}", out, into) if linear else _conv(shapes, f"{name}.{end}", out, into, 1)
    for layer in range(depth):
        block = f"{name}.transformer_blocks.{layer}"
        for number in (1, 2, 3):
            _norm(shapes, f"{block}.norm{number}", inner)
        for attention, source in (("attn1", inner), ("attn2", cross)):
            _linear(shapes, f"{block}.{attention}.to_q", inner, inner, bias=False)
            _linear(shapes, f"{block}.{attention}.to_k", inner, source, bias=False)
            _linear(shapes, f"{block}.{attention}.to_v", inner, source, bias=False)
            _linear(shapes, f"{block}.{attention}.to_out.0", inner, inner)
        _linear(shapes, f"{block}.ff.net.0.proj", 8 * inner, inner)
        _linear(shapes, f"{block}.ff.net.2", inner, 4 * inner)


# ------------------------------------------------------------------------------------------------------------ U-Net


def _per_level(value: object, levels: int) -> list[Any]:
    values = list(value) if isinstance(value, (list, tuple)) else [value] * levels
    if len(values) != levels:
        raise ValueError(f"{len(values)} values for {levels} levels")
    return values


def _depths(value: object, layers: int) -> list[int]:
    return [int(depth) for depth in value] if isinstance(value, (list, tuple)) else [int(value)] * layers  # type: ignore[call-overload]


class _Unet:
    """What a U-Net's config says of every level."""

    def __init__(self, config: Config) -> None:
        if any(config.get(name, plain[0]) not in plain for name, plain in _PLAIN_UNET.items()):
            raise ValueError("of another kind")
        self.widths: Sequence[int] = config["block_out_channels"]
        levels = self.levels = len(self.widths)
        self.layers = _per_level(config.get("layers_per_block", 2), levels)
        heads = config.get("num_attention_heads") or config.get("attention_head_dim", 8)  # diffusers' own confusion
        self.heads = _per_level(heads, levels)
        self.cross = _per_level(config.get("cross_attention_dim", 1280), levels)
        self.depths = _per_level(config.get("transformer_layers_per_block", 1), levels)
        self.linear = bool(config.get("use_linear_projection", False))
        self.time = 4 * self.widths[0]
        kinds = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
        self.attends_down = [_DOWN[kind] for kind in config.get("down_block_types", kinds)]
        middle = config.get("mid_block_type", "UNetMidBlock2DCrossAttn")
        self.attends_middle = _MIDDLE[middle]
        if len(self.attends_down) != levels:
            raise ValueError("levels")

    def transformer(self, shapes: Shapes, name: str, level: int, depth: int) -> None:
        """The attention of a level."""
        _transformer(shapes, name, self.widths[level], self.heads[level], depth, self.cross[level], linear=self.linear)

    def start(self, shapes: Shapes, config: Config) -> None:
        """What stands before the first level: the picture's way in, the timestep's, and that of added numbers."""
        _conv(shapes, "conv_in", self.widths[0], config.get("in_channels", 4))
        _linear(shapes, "time_embedding.linear_1", self.time, self.widths[0])
        _linear(shapes, "time_embedding.linear_2", self.time, self.time)
        if config.get("time_cond_proj_dim"):
            _linear(shapes, "time_embedding.cond_proj", self.widths[0], config["time_cond_proj_dim"], bias=False)
        if config.get("addition_embed_type") == "text_time":
            _linear(shapes, "add_embedding.linear_1", self.time, config["projection_class_embeddings_input_dim"])
            _linear(shapes, "add_embedding.linear_2", self.time, self.time)

    def down(self, shapes: Shapes) -> None:
        """The levels on the way down, and the middle."""
        into = self.widths[0]
        for level, out in enumerate(self.widths):
            depths = _depths(self.depths[level], self.layers[level])
            for layer in range(self.layers[level]):
                _resnet(shapes, f"down_blocks.{level}.resnets.{layer}", into, out, self.time)
                if self.attends_down[level]:
                    self.transformer(shapes, f"down_blocks.{level}.attentions.{layer}", level, depths[layer])
                into = out
            if level < self.levels - 1:
                _conv(shapes, f"down_blocks.{level}.downsamplers.0.conv", out, out)
        _resnet(shapes, "mid_block.resnets.0", into, into, self.time)
        if self.attends_middle:
            [depth] = set(_depths(self.depths[-1], 1))
            self.transformer(shapes, "mid_block.attentions.0", self.levels - 1, depth)
            _resnet(shapes, "mid_block.resnets.1", into, into, self.time)


def _unet(config: Config) -> Shapes:
    unet, shapes = _Unet(config), Shapes()
    unet.start(shapes, config)
    unet.down(shapes)
    kinds = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
    attends = [_UP[kind] for kind in config.get("up_block_types", kinds)]
    reverse = config.get("reverse_transformer_layers_per_block") or unet.depths[::-1]
    if len(attends) != unet.levels:
        raise ValueError("levels")
    below = unet.widths[-1]
    for block, attending in enumerate(attends):
        level = unet.levels - 1 - block
        out, neighbour = unet.widths[level], unet.widths[max(level - 1, 0)]
        layers = unet.layers[level] + 1
        depths = _depths(reverse[block], layers)
        for layer in range(layers):
            skip = neighbour if layer == layers - 1 else out
            _resnet(shapes, f"up_blocks.{block}.resnets.{layer}", below + skip, out, unet.time)
            if attending:
                unet.transformer(shapes, f"up_blocks.{block}.attentions.{layer}", level, depths[layer])
            below = out
        if level:
            _conv(shapes, f"up_blocks.{block}.upsamplers.0.conv", out, out)
    _norm(shapes, "conv_norm_out", unet.widths[0])
    _conv(shapes, "conv_out", config.get("out_channels", 4), unet.widths[0])
    return shapes


def _controlnet(config: Config) -> Shapes:
    unet, shapes = _Unet({**config, "act_fn": config.get("act_fn", "silu")}), Shapes()
    unet.start(shapes, config)
    unet.down(shapes)
    outputs = [unet.widths[0]]
    for level, width in enumerate(unet.widths):
        outputs += [width] * (unet.layers[level] + (level < unet.levels - 1))
    for number, width in enumerate(outputs):
        _conv(shapes, f"controlnet_down_blocks.{number}", width, width, 1)
    _conv(shapes, "controlnet_mid_block", unet.widths[-1], unet.widths[-1], 1)
    hints = list(config.get("conditioning_embedding_out_channels") or (16, 32, 96, 256))
    name = "controlnet_cond_embedding"
    _conv(shapes, f"{name}.conv_in", hints[0], config.get("conditioning_channels", 3))
    for number, (into, out) in enumerate(itertools.pairwise(hints)):
        _conv(shapes, f"{name}.blocks.{2 * number}", into, into)
        _conv(shapes, f"{name}.blocks.{2 * number + 1}", out, into)
    _conv(shapes, f"{name}.conv_out", unet.widths[0], hints[-1])
    return shapes


# -------------------------------------------------------------------------------------------------------------- VAE


def _vae(config: Config) -> Shapes:
    widths, layers = config["block_out_channels"], int(config.get("layers_per_block", 1))
    channels, levels = int(config.get("latent_channels", 4)), len(config["block_out_channels"])
    if set(config.get("down_block_types", ())) - {"DownEncoderBlock2D"} or config.get("act_fn", "silu") != "silu":
        raise ValueError("of another kind")
    if set(config.get("up_block_types", ())) - {"UpDecoderBlock2D"} or not config.get("mid_block_add_attention", True):
        raise ValueError("of another kind")
    shapes = Shapes()
    _conv(shapes, "encoder.conv_in", widths[0], config.get("in_channels", 3))
    into = widths[0]
    for level, out in enumerate(widths):
        for layer in range(layers):
            _resnet(shapes, f"encoder.down_blocks.{level}.resnets.{layer}", into, out, None)
            into = out
        if level < levels - 1:
            _conv(shapes, f"encoder.down_blocks.{level}.downsamplers.0.conv", out, out)
    _conv(shapes, "decoder.conv_in", widths[-1], channels)
    for side in ("encoder", "decoder"):
        _vae_middle(shapes, f"{side}.mid_block", widths[-1])
    into = widths[-1]
    for block, out in enumerate(reversed(widths)):
        for layer in range(layers + 1):
            _resnet(shapes, f"decoder.up_blocks.{block}.resnets.{layer}", into, out, None)
            into = out
        if block < levels - 1:
            _conv(shapes, f"decoder.up_blocks.{block}.upsamplers.0.conv", out, out)
    _norm(shapes, "encoder.conv_norm_out", widths[-1])
    _conv(shapes, "encoder.conv_out", 2 * channels, widths[-1])
    _norm(shapes, "decoder.conv_norm_out", widths[0])
    _conv(shapes, "decoder.conv_out", config.get("out_channels", 3), widths[0])
    if config.get("use_quant_conv", True):
        _conv(shapes, "quant_conv", 2 * channels, 2 * channels, 1)
    if config.get("use_post_quant_conv", True):
        _conv(shapes, "post_quant_conv", channels, channels, 1)
    return shapes


def _vae_middle(shapes: Shapes, name: str, width: int) -> None:
    for layer in (0, 1):
        _resnet(shapes, f"{name}.resnets.{layer}", width, width, None)
    _norm(shapes, f"{name}.attentions.0.group_norm", width)
    for end in ("to_q", "to_k", "to_v", "to_out.0"):
        _linear(shapes, f"{name}.attentions.0.{end}", width, width)


# ---------------------------------------------------------------------------------------------------- text encoders


def _text_encoder(config: Config) -> Shapes:
    width, shapes = int(config["hidden_size"]), Shapes()
    shapes["embeddings.token_embedding.weight"] = (int(config["vocab_size"]), width)
    shapes["embeddings.position_embedding.weight"] = (int(config["max_position_embeddings"]), width)
    for layer in range(int(config["num_hidden_layers"])):
        start = f"encoder.layers.{layer}"
        for end in ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj"):
            _linear(shapes, f"{start}.{end}", width, width)
        _norm(shapes, f"{start}.layer_norm1", width)
        _linear(shapes, f"{start}.mlp.fc1", int(config["intermediate_size"]), width)
        _linear(shapes, f"{start}.mlp.fc2", width, int(config["intermediate_size"]))
        _norm(shapes, f"{start}.layer_norm2", width)
    _norm(shapes, "final_layer_norm", width)
    return shapes


def _projecting_text_encoder(config: Config) -> Shapes:
    shapes = {f"text_model.{name}": shape for name, shape in _text_encoder(config).items()}
    _linear(shapes, "text_projection", int(config["projection_dim"]), int(config["hidden_size"]), bias=False)
    return shapes


_MAKERS: Mapping[str, Callable[[Config], Shapes]] = {
    "UNet2DConditionModel": _unet,
    "ControlNetModel": _controlnet,
    "AutoencoderKL": _vae,
    "CLIPTextModel": _text_encoder,
    "CLIPTextModelWithProjection": _projecting_text_encoder,
}
