"""The texts of the prompt fields, in both languages."""

from __future__ import annotations

from collections.abc import Mapping

PROMPT_BOX: Mapping[str, Mapping[str, str]] = {
    "en": {
        "prompt_box.offers": "Names that go on from here",
        "prompt_box.news": "{count} names. Arrow keys choose, Enter puts one in, Escape closes.",
        "prompt_box.kind.lora": "LoRA",
        "prompt_box.kind.embedding": "embedding",
        "prompt_box.kind.wildcard": "wildcard file",
        "prompt_box.count": "{count}/{room}",
        "prompt_box.count.title": "{count} tokens of {room}: the text encoder reads them in chunks of {most}, and a "
        "line in the text marks where one ends. Press to see the tokens.",
    },
    "zh": {
        "prompt_box.offers": "可以补全的名称",
        "prompt_box.news": "{count} 个名称。方向键选择，Enter 写入，Esc 关闭。",
        "prompt_box.kind.lora": "LoRA",
        "prompt_box.kind.embedding": "嵌入（embedding）",
        "prompt_box.kind.wildcard": "通配符文件（wildcard）",
        "prompt_box.count": "{count}/{room}",
        "prompt_box.count.title": "{count} 个词元，共可容纳 {room} 个：文本编码器每次读取一块 {most} 个词元，"
        "文中的竖线标出每一块的结尾。按下可显示各个词元。",
    },
}
