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
        "drawer.open": "LoRAs and embeddings",
        "drawer.count": "LoRAs and embeddings ({count})",
        "drawer.find": "Find by name or word",
        "drawer.none": "There are none yet. Put LoRA files into models/loras and embeddings into models/embeddings, or "
        "fetch them in the tab Models.",
        "drawer.nothing": "None has this in its name or words.",
        "drawer.help": "A click puts one into the prompt, another takes it out.",
        "drawer.help.negative": "Embeddings go into the prompt that you wrote in last, the negative one too.",
        "drawer.more": "{count} more: write a part of the name.",
        "drawer.lora": "LoRA",
        "drawer.embedding": "embedding",
        "drawer.weight": "Weight of {name}",
        "drawer.words": "Words of {name}",
        "drawer.remove": "Take {name} out",
        "drawer.negative": "negative",
        "drawer.failed": "The list cannot be read now. Open it again.",
        "prompt_box.kind.trigger": "trigger word",
        "prompt_box.kind.style": "style",
        "prompt_box.kind.tag": "tag",
        "drawer.tags.none": "Tags to complete while you type: drop a CSV file of tags here, as the extension Tag "
        "Autocomplete has them. It stays in this browser.",
        "drawer.tags.file": "{name} completes {count} tags while you type. It stays in this browser.",
        "drawer.tags.choose": "Choose a file of tags",
        "drawer.tags.remove": "Remove it",
        "drawer.tags.large": "{name} is too large: at most {most} MiB.",
        "drawer.tags.bad": '{name} has no tags in the form name,type,count,"aliases".',
        "drawer.tags.unkept": "The tags are used until the page is closed: this browser does not keep them.",
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
        "drawer.open": "LoRA 与嵌入",
        "drawer.count": "LoRA 与嵌入（{count}）",
        "drawer.find": "按名称或词查找",
        "drawer.none": "还没有。请把 LoRA 文件放入 models/loras，把嵌入（embedding）放入 models/embeddings，"
        "或在“模型”页下载。",
        "drawer.nothing": "没有名称或词与之相符。",
        "drawer.help": "点一下放入提示词，再点一下取出。",
        "drawer.help.negative": "嵌入会放入您最后编辑的那个提示词，也可以是反向提示词。",
        "drawer.more": "还有 {count} 个：请输入名称的一部分。",
        "drawer.lora": "LoRA",
        "drawer.embedding": "嵌入（embedding）",
        "drawer.weight": "{name} 的权重",
        "drawer.words": "{name} 的触发词",
        "drawer.remove": "取出 {name}",
        "drawer.negative": "反向",
        "drawer.failed": "现在无法读取列表。请重新打开。",
        "prompt_box.kind.trigger": "触发词",
        "prompt_box.kind.style": "风格",
        "prompt_box.kind.tag": "标签",
        "drawer.tags.none": "输入时补全标签：把标签的 CSV 文件拖到这里（扩展 Tag Autocomplete 的格式）。"
        "文件只留在此浏览器中。",
        "drawer.tags.file": "{name} 在输入时补全 {count} 个标签。文件只留在此浏览器中。",
        "drawer.tags.choose": "选择标签文件",
        "drawer.tags.remove": "移除",
        "drawer.tags.large": "{name} 太大：最多 {most} MiB。",
        "drawer.tags.bad": '{name} 中没有 name,type,count,"aliases" 格式的标签。',
        "drawer.tags.unkept": "标签可用到关闭页面为止：此浏览器无法保存它们。",
    },
}
