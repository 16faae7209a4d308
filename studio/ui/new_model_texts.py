"""The texts of what brings new models into the models folder beside the hub: links and merging. In both languages."""

from __future__ import annotations

from collections.abc import Mapping

NEW_MODELS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "api.merge": "Writes a new checkpoint of the checkpoints `a` and `b` (and `c` for add_difference), in the "
        "background: `method` weighted_sum, a (1 - weight) + b weight, or add_difference, a + (b - c) weight; "
        "`precision` first, fp16, bf16 or fp32; `name` of the file, or nothing for the recipe. "
        "Only the owner may do this.",
        "api.add_by_link": "Fetches one safetensors file of an https address, or of a model's page on Civitai, into "
        "the models folder, in the background. `sha256`: what it must have, if you know it. "
        "Only the owner may do this.",
        "models.link.title": "Add by link",
        "models.link.what": "One safetensors file of an https address, or of a model's page on Civitai. It is looked "
        "at before it is fetched, compared with the sha256 that Civitai says or that you paste, and put where its "
        "header says that it belongs. Civitai's key, for files that ask for one, is the environment variable "
        "CIVITAI_API_KEY.",
        "models.link.address": "https://… of a file, or of a model on Civitai",
        "models.link.sha256": "Its sha256, if you know it",
        "models.link.add": "Add",
        "models.merge.title": "Merge checkpoints",
        "models.merge.what": "A new checkpoint of two or three that are here, as one safetensors file with the recipe "
        "in it, as AUTOMATIC1111 writes it. The old ones stay.",
        "models.merge.few": "This needs two checkpoints that are single .safetensors files.",
        "models.merge.method": "Method",
        "models.merge.method.weighted_sum": "Weighted sum: A (1 − w) + B w",
        "models.merge.method.add_difference": "Add difference: A + (B − C) w",
        "models.merge.a": "A",
        "models.merge.b": "B",
        "models.merge.c": "C",
        "models.merge.weight": "w",
        "models.merge.precision": "Precision",
        "models.merge.precision.first": "as A",
        "models.merge.precision.fp16": "fp16",
        "models.merge.precision.bf16": "bf16",
        "models.merge.precision.fp32": "fp32",
        "models.merge.name": "Name",
        "models.merge.start": "Merge",
        "models.merge.list": "Merges",
        "models.merge.state.waiting": "waiting",
        "models.merge.state.reading": "reading",
        "models.merge.state.running": "writing",
        "models.merge.state.done": "in the list",
        "models.merge.state.failed": "not merged",
        "models.merge.state.cancelled": "stopped; nothing of it is kept",
        "models.merge.stop": "Stop",
        "models.merge.stop.of": "Stop merging {name}",
    },
    "zh": {
        "api.merge": "在后台由检查点 `a` 和 `b`（add_difference 还需 `c`）写出一个新的检查点：`method` 为 "
        "weighted_sum，即 a (1 - weight) + b weight；或 add_difference，即 a + (b - c) weight。"
        "`precision` 为 first、fp16、bf16 或 fp32；"
        "`name` 为文件名，留空则用配方。只有主人可以这样做。",
        "api.add_by_link": "在后台把某个 https 网址，或 Civitai 上某个模型页面的一个 safetensors 文件下载到模型文件夹。"
        "`sha256`：它应有的值（如果知道）。只有主人可以这样做。",
        "models.link.title": "通过链接添加",
        "models.link.what": "来自某个 https 网址，或 Civitai 上某个模型页面的一个 safetensors 文件。下载之前先查看，"
        "并与 Civitai 所述或您粘贴的 sha256 核对，再按其文件头放入相应的文件夹。"
        "有的文件需要 Civitai 密钥，它是环境变量 CIVITAI_API_KEY。",
        "models.link.address": "文件的 https://… 网址，或 Civitai 上模型的网址",
        "models.link.sha256": "它的 sha256（如果知道）",
        "models.link.add": "添加",
        "models.merge.title": "合并检查点",
        "models.merge.what": "由这里的两个或三个检查点得到一个新的检查点：一个 safetensors 文件，"
        "其中按 AUTOMATIC1111 的写法记有配方。原来的文件保持不变。",
        "models.merge.few": "这需要两个检查点，各为单个 .safetensors 文件。",
        "models.merge.method": "方法",
        "models.merge.method.weighted_sum": "加权和：A (1 − w) + B w",
        "models.merge.method.add_difference": "加上差值：A + (B − C) w",
        "models.merge.a": "A",
        "models.merge.b": "B",
        "models.merge.c": "C",
        "models.merge.weight": "w",
        "models.merge.precision": "精度",
        "models.merge.precision.first": "与 A 相同",
        "models.merge.precision.fp16": "fp16",
        "models.merge.precision.bf16": "bf16",
        "models.merge.precision.fp32": "fp32",
        "models.merge.name": "名称",
        "models.merge.start": "合并",
        "models.merge.list": "合并任务",
        "models.merge.state.waiting": "等待中",
        "models.merge.state.reading": "正在读取",
        "models.merge.state.running": "正在写入",
        "models.merge.state.done": "已在列表中",
        "models.merge.state.failed": "没有合并",
        "models.merge.state.cancelled": "已停止；没有留下任何内容",
        "models.merge.stop": "停止",
        "models.merge.stop.of": "停止合并 {name}",
    },
}
