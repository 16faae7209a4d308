"""The Chinese of what the rooms without a page say: problems, refusals, remarks, progress.

Keyed by the English sentence with {} for each of its values (`studio.asked.messages.Message` names them); in the
Chinese one {1} stands for the first of them, {2} for the second. The terms are those of docs/translating.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_PLACE = re.compile(r"\{\w+\}")


@lru_cache(maxsize=2048)  # bounded: a value of a message may be anybody's text
def chinese_of(sentence: str) -> str | None:
    """The Chinese of an English sentence, with the same {names} for its values; None where there is none."""
    names = _PLACE.findall(sentence)
    chinese = CHINESE_MESSAGES.get(_PLACE.sub("{}", sentence))
    return None if chinese is None else re.sub(r"\{(\d+)\}", lambda place: names[int(place[1]) - 1], chinese)


CHINESE_MESSAGES: Mapping[str, str] = {
    "The owner of this studio has "
    "the safety checker on, which looks at runs only.": "工作室主人开启了安全检查器，它只检查运行。",
    "A figure of few steps is made "
    "without LoRAs, and this prompt names one.": "少步数的插图不使用 LoRA，而这个提示词用到了。",
    "The picture's file is gone.": "这张图像的文件已不存在。",
    "At most {} pictures at a time.": "一次最多 {1} 张图像。",
    "The outputs folder cannot be changed ({}).": "无法更改输出文件夹（{1}）。",
    "a day as 2026-11-29": "形如 2026-11-29 的日期",
    "a size as 512x768": "形如 512x768 的尺寸",
    "what the page before answered as next": "上一页给出的 next 值",
    "a name of 1 to {} characters": "1 到 {1} 个字符的名称",
    "at most {} boards": "最多 {1} 个收藏板",
    "{} is no decoder of a TAESD: "
    "its tensors have other names or shapes.": "{1} 不是 TAESD 的解码器：它的张量名称或形状不同。",
    "{} is no encoder of a TAESD: "
    "its tensors have other names or shapes.": "{1} 不是 TAESD 的编码器：它的张量名称或形状不同。",
    "{}/config.json: latent_channels is {}, allowed is 4.": "{1}/config.json：latent_channels 是 {2}，只允许 4。",
    "There is no .safetensors file in the folder {}.": "文件夹 {1} 里没有 .safetensors 文件。",
    "{}/config.json: {} "
    "is {}, allowed are {} numbers from {} to {}.": "{1}/config.json：{2} 是 {3}，允许 {4} 个从 {5} 到 {6} 的数。",
    "the name of a VAE that fits the checkpoint, or nothing for the one that it runs with": (
        "适用于该检查点的 VAE 的名称；留空则用检查点现有的"
    ),
    "{}, a name of {} VAEs,": "{1}（有 {2} 个 VAE 叫这个名字）",
    "{} with {}": "{1}（用于 {2}）",
    "nothing: there is no VAE here for {}": "留空：这里没有适用于 {1} 的 VAE",
    "{}, a VAE without an encoder,": "{1}（没有编码器的 VAE）",
    "a VAE that can encode the picture of this run": "能编码本次运行所用图片的 VAE",
    "VAE {}": "VAE {1}",
    "Its own VAE cannot be used. {}": "无法使用它自带的 VAE。{1}",
    "The U-Net does not fit the "
    "VAE: it takes {} channels, the VAE makes {}.": "U-Net 与 VAE 不匹配：U-Net 接受 {1} 个通道，VAE 给出 {2} 个。",
    "{} wide, the text encoder's are {}": "宽度为 {1}，文本编码器的是 {2}",
    "The U-Net does not fit the text encoder: it takes embeddings {}.": "U-Net 与文本编码器不匹配：它接受的嵌入{1}。",
    "The VAE's {} has {} numbers for {} channels.": "VAE 的 {1} 有 {2} 个数，而通道有 {3} 个。",
    "There is no VAE in {}. Choose "
    "one for it, such as the one made for {}.": "{1} 里没有 VAE。请为它选择一个，例如适用于 {2} 的 VAE。",
    "There is no {} in this folder.": "这个文件夹里没有{1}。",
    "There is no {} in {}.": "{2} 里没有{1}。",
    "The {} is of the class {}; only {} is loaded.": "{1}的类是 {2}；只载入 {3}。",
    "The {} has no readable {}.": "{1}没有可读取的 {2}。",
    "The {} wants to run code of its own (auto_map), which is refused.": "{1}要求运行自带的代码 (auto_map)，已拒绝。",
    "only a pickle, which could run code and is not loaded": "只有 pickle，它可能运行代码，所以不载入",
    "no .safetensors file": "没有 .safetensors 文件",
    "The {} cannot be loaded: there is {}.": "无法载入{1}：{2}。",
    "The folder {} is no VAE: "
    "its config.json does not name AutoencoderKL.": "文件夹 {1} 不是 VAE：它的 config.json 没有写明 AutoencoderKL。",
    "There is no .safetensors file in the VAE folder {}.": "VAE 文件夹 {1} 里没有 .safetensors 文件。",
    "text encoder": "文本编码器",
    "second text encoder": "第二文本编码器",
    "{} is no VAE that the studio knows: tensors are missing ({}).": "{1} 不是工作室认识的 VAE：缺少张量（{2}）。",
    "These are no weights of this {}: tensors are missing ({}).": "这不是该{1}的权重：缺少张量（{2}）。",
    "The {} cannot be loaded: {}": "无法载入{1}：{2}",
    "The hub answered {} with the status {}.": "Hugging Face 对 {1} 的回应是状态 {2}。",
    "{} of {}": "{2} 的 {1}",
    "{} is gated, private or not there. Accept its terms "
    "on the hub and give a token that may read it.": "{1} 受限、为私有或不存在。请在 Hugging Face 上接受其条款，"
    "并填写有读取权限的令牌。",
    "{} is not on the hub.": "Hugging Face 上没有 {1}。",
    "The hub is busy and asks to come back later.": "Hugging Face 繁忙，请稍后再来。",
    "a name such as owner/model, or its address": "形如“用户名/模型名”的名称，或其网址",
    "a branch, tag or commit, such as main": "分支、标签或提交，例如 main",
    "Loading {}: from memory to the device": "正在载入 {1}：从内存到设备",
    "The checkpoint {} is not in the models folder any more.": "模型 {1} 已不在 models 文件夹里。",
    "The checkpoint {} is written to while it is read. Try again later.": "读取时模型 {1} 正在被写入。请稍后再试。",
    "Loading {}: done": "正在载入 {1}：完成",
    "The scheduler's prediction_type is {}, which is not known.": "采样器的 prediction_type 是 {1}，这里不认识。",
    "Loading {}: {}": "正在载入 {1}：{2}",
    "Loading {}: measuring what it predicts": "正在载入 {1}：测量它预测什么",
    "{} does not say whether it predicts noise or v, and its answers do not show it: it is taken to predict "
    "noise. The Models tab can say otherwise.": "{1} 没有说明它预测噪声还是 v，从它的输出也看不出来："
    "按预测噪声处理。可在“模型”页另行指定。",
    "The U-Net does not fit the VAE: it is "
    "shown a picture, and the VAE has no encoder.": "U-Net 与 VAE 不匹配：U-Net 需要输入图像，而 VAE 没有编码器。",
    "The tokenizers do not fit each other: they know different tokens.": "两个分词器不匹配：它们的词表不同。",
    "{} does not say what it predicts; measured: {}.": "{1} 没有说明它预测什么；测量结果：{2}。",
    "The tokenizer does not "
    "fit the text encoder: it knows more tokens.": "分词器与文本编码器不匹配：分词器的词元更多。",
    "{} is no LoRA.": "{1} 不是 LoRA。",
    "{} is a LoRA for {}; {} is {}.": "{1} 是用于 {2} 的 LoRA；{3} 是 {4}。",
    "{} does not fit {}, which "
    "is {}: none of its {} tensors belongs to it.": "{1} 与 {2}（{3}）不匹配：它的 {4} 个张量没有一个属于该模型。",
    "{} tensors of the LoRA {} fit nothing in the model ({}).": "LoRA {2} 有 {1} 个张量在模型中没有对应（{3}）。",
    "an embedding": "嵌入",
    "a small VAE for previews": "用于预览的小型 VAE",
    "{} tensors of {} were not used ({}).": "{2} 有 {1} 个张量没有用到（{3}）。",
    "This folder has no readable model_index.json, "
    "so it is no diffusers checkpoint.": "这个文件夹没有可读取的 model_index.json，所以不是 diffusers 模型。",
    "{} is {}, not a checkpoint.": "{1} 是{2}，不是检查点。",
    "The {}'s files cannot be read.": "无法读取{1}的文件。",
    "{} is no VAE.": "{1} 不是 VAE。",
    "The VAE is {}.": "这个 VAE {1}。",
    "{}: {} is not a few finite numbers.": "{1}：{2} 不是若干个有限的数。",
    "model {} of control {}": "控制 {2} 的模型 {1}",
    "one of {}": "以下之一：{1}",
    "none: there is no {} in the models folders": "没有：模型文件夹里没有 {1}",
    "one that has {}: choose one for it on the Models tab": "一个带有{1}的模型：请在“模型”页为它选择",
    "none: there is no checkpoint in the models folder": "没有：models 文件夹里没有模型",
    "{} with {}, whose VAE has no encoder,": "{1}（使用 {2}，其 VAE 没有编码器）",
    "none: no ControlNet for {} was found": "没有：没有找到用于 {1} 的 ControlNet",
    "the {} {}": "{1} {2}",
    "a VAE with an encoder": "带编码器的 VAE",
    "a VAE": "VAE",
    "the {} {}, a name of {} files,": "{1} {2}（有 {3} 个同名文件）",
    "{}, a name of {} checkpoints,": "{1}（有 {2} 个同名模型）",
    "{}, a name of {} files,": "{1}（有 {2} 个同名文件）",
    "The VAE in it has no encoder: it makes pictures "
    "from text, and cannot begin with a picture.": "其中的 VAE 没有编码器：可以文生图，不能从图片开始。",
    "This small VAE knows the latents of {} only.": "这个小型 VAE 只认识 {1} 的潜变量。",
    "This is the encoder of a small VAE; previews are made by a decoder.": "这是小型 VAE 的编码器；预览需要解码器。",
    "This VAE makes latents of {} "
    "channels, those of Stable Diffusion have 4.": "这个 VAE 的潜变量有 {1} 个通道，Stable Diffusion 的有 4 个。",
    "This is a ControlNet of several "
    "kinds at once (Union), which is not run.": "这是多合一的 ControlNet (Union)，这里不支持。",
    "This is a Control-LoRA, "
    "which is not run; take the whole ControlNet.": "这是 Control-LoRA，这里不支持；请使用完整的 ControlNet。",
    "This holds a whole checkpoint beside "
    "a ControlNet; take the ControlNet alone.": "除 ControlNet 外还含有整个检查点；请只取 ControlNet。",
    "This ControlNet is "
    "for another family than SD 1, SD 2 and SDXL.": "这个 ControlNet 不属于 SD 1、SD 2 或 SDXL 系列。",
    "This small VAE is for latents "
    "of another kind than Stable Diffusion's.": "这个小型 VAE 用于另一种潜变量，不是 Stable Diffusion 的。",
    "Only one of SDXL's two embeddings is in this file.": "这个文件只含 SDXL 两个嵌入中的一个。",
    "Its tensors belong to no kind of model that the studio knows.": "它的张量不属于工作室认识的任何一种模型。",
    "{} is empty: the download did not finish.": "{1} 是空的：下载没有完成。",
    "{} is a Git LFS pointer, not the weights "
    "themselves. Fetch them with 'git lfs pull'.": "{1} 只是 Git LFS 指针，不是权重本身。请用 git lfs pull 取得权重。",
    "{} is a web page, not a weights file: the download went wrong.": "{1} 是网页，不是权重文件：下载出错了。",
    "{} is a pickle, which could run code "
    "when it is read. Only safetensors are loaded.": "{1} 是 pickle，读取时可能运行代码。只载入 safetensors。",
    "{} is a GGUF file. Only safetensors are loaded.": "{1} 是 GGUF 文件。只载入 safetensors。",
    "{} is not a safetensors file.": "{1} 不是 safetensors 文件。",
    "{} is damaged: its header is no table of tensors.": "{1} 已损坏：它的文件头不是张量表。",
    "{} claims more than {} tensors.": "{1} 声称有超过 {2} 个张量。",
    "{} is truncated: {} of {} bytes of weights are there.": "{1} 不完整：权重应有 {3} 字节，只有 {2} 字节。",
    "{} is damaged: {} bytes too many.": "{1} 已损坏：多出 {2} 字节。",
    "{} cannot be read: {}.": "无法读取 {1}：{2}。",
    "{} is damaged: its header names a tensor twice.": "{1} 已损坏：文件头中有一个张量出现两次。",
    "{} is damaged: its header cannot be read.": "{1} 已损坏：无法读取文件头。",
    "{} is no safetensors file: its header claims {} bytes.": "{1} 不是 safetensors 文件：它的文件头声称有 {2} 字节。",
    "{} is truncated: {} of at least {} bytes are there.": "{1} 不完整：至少应有 {3} 字节，只有 {2} 字节。",
    "{} is damaged: the entry of {} makes no sense.": "{1} 已损坏：{2} 的条目没有意义。",
    "{} is damaged: its tensors overlap or leave holes.": "{1} 已损坏：张量相互重叠或留有空隙。",
    "the noise": "噪声",
    "the picture": "图像",
    "{} does not fit this "
    "model: {} would need {}, the LoRA has {}.": "{1} 与这个模型不匹配：{2} 需要 {3}，LoRA 是 {4}。",
    "{} is damaged: a tensor of {} is empty.": "{1} 已损坏：{2} 有一个张量是空的。",
    "the lengths (dora_scale) of {}": "{1} 的长度 (dora_scale)",
    "{} is {} and should be {}": "{1} 是 {2}，应为 {3}",
    "The {} has tensors of the wrong shape: {}.": "{1}有形状不对的张量：{2}。",
    "are missing": "缺少",
    "do not belong there": "多余",
    "These are no weights of this {}: {} tensors {} ({}).": "这不是该{1}的权重：{3} {2} 个张量（{4}）。",
    "The {} cannot be loaded: its weights do not fit its config.json.": "无法载入{1}：权重与它的 config.json 不匹配。",
    "{} holds values that are not numbers, or too large for {}.": "{1} 含有不是数字的值，或超出 {2} 的范围。",
    "{} holds weights of the type {}, which cannot be loaded.": "{1} 含有 {2} 类型的权重，无法载入。",
    "{} became shorter while it was read; is it being replaced?": "{1} 在读取时变短了；是不是正在被替换？",
    "{} is being converted already.": "{1} 已在转换中。",
    "The conversion failed inside the studio; its log has the details.": "转换在工作室内部失败；详情见日志。",
    "{} lies beside it.": "{1} 已放在它旁边。",
    "The {} needs {}, which no file holds.": "{1}需要 {2}，但没有文件包含它。",
    "the studio runs the Stable Diffusion families with a U-Net": "工作室支持带 U-Net 的 Stable Diffusion 系列",
    "a Chroma model": "Chroma 模型",
    "a HunyuanVideo or HunyuanImage model": "HunyuanVideo 或 HunyuanImage 模型",
    "a HunyuanImage model": "HunyuanImage 模型",
    "a Stable Diffusion 3.5 model": "Stable Diffusion 3.5 模型",
    "a Stable Diffusion 3 model": "Stable Diffusion 3 模型",
    "a Qwen-Image model": "Qwen-Image 模型",
    "an Anima model": "Anima 模型",
    "a Cosmos model": "Cosmos 模型",
    "a Wan video model": "Wan 视频模型",
    "an LTX video model": "LTX 视频模型",
    "a Z-Image model": "Z-Image 模型",
    "a Flux model": "Flux 模型",
    "a Stable Cascade model": "Stable Cascade 模型",
    "a PixArt or Sana model": "PixArt 或 Sana 模型",
    "an AuraFlow model": "AuraFlow 模型",
    "a Stable Video Diffusion model": "Stable Video Diffusion 模型",
    "an IP-Adapter": "IP-Adapter",
    "a picture upscaler": "图像放大模型",
    "a text encoder on its own": "单独的文本编码器",
    "a CLIP model": "CLIP 模型",
    "This is {}; {}.": "这是{1}；{2}。",
    "It came with {} and works with that alone.": "它随 {1} 而来，也只能与之一起使用。",
    "It is a link to outside of the models folders. Name that folder "
    "with --models-dir to use what is in it.": "它是指向模型文件夹之外的链接。要使用其中的内容，请用 --models-dir "
    "指定那个文件夹。",
    "a depth-guided model, which needs a depth map": "需要深度图的深度引导模型",
    "a latent upscaler": "潜变量放大模型",
    "an InstructPix2Pix model, which needs a second picture": "需要第二张图片的 InstructPix2Pix 模型",
    "This is {}; the studio cannot run it.": "这是{1}；工作室无法运行它。",
    "This is an SDXL of another depth "
    "than those that are known; it is not run.": "这个 SDXL 的深度与已知的不同；这里不支持。",
    "of another kind: its U-Net takes {} channels": "另一种模型：它的 U-Net 接受 {1} 个通道",
    "Its U-Net has blocks "
    "of none of the families SD 1, SD 2 and SDXL.": "它的 U-Net 的块不属于 SD 1、SD 2 或 SDXL 系列。",
    "This is an unCLIP model, which "
    "needs a picture; the studio cannot run it.": "这是需要图片的 unCLIP 模型；工作室无法运行它。",
    "This file holds no text encoder: it is "
    "a U-Net alone, and cannot be run on its own.": "这个文件没有文本编码器：只有 U-Net，无法单独运行。",
    "This file holds a U-Net alone, and cannot be run on its own.": "这个文件只有 U-Net，无法单独运行。",
    "This is a U-Net alone in diffusers' layout: "
    "put it into the unet folder of a checkpoint.": "这是 diffusers 格式的单独 U-Net：请放进某个模型的 unet 文件夹。",
    "These are no weights of "
    "this {}: {} tensors do not belong there ({}).": "这不是该{1}的权重：有 {2} 个张量多余（{3}）。",
    "{} tensors of a LoRA in it are not used.": "其中有 {1} 个 LoRA 张量没有用到。",
    "The file does not say whether it predicts noise "
    "or v; that is measured when it is loaded.": "文件没有说明它预测噪声还是 v；载入时会测量。",
    "This VAE makes latents of another kind than Stable Diffusion's.": "这个 VAE 的潜变量与 Stable Diffusion 的不同。",
    "This folder is for {}, which the studio does not run.": "这个文件夹用于 {1}，工作室不支持。",
    "The U-Net has no readable config.json.": "U-Net 没有可读取的 config.json。",
    "There is no U-Net in this folder.": "这个文件夹里没有 U-Net。",
    "There is no .safetensors "
    "file of a ControlNet in this folder.": "这个文件夹里没有 ControlNet 的 .safetensors 文件。",
    "There is no VAE with it: choose one for it.": "它没有 VAE：请为它选择一个。",
    "The VAE that was chosen for it is not in "
    "the models folders any more: choose another.": "为它选择的 VAE 已不在模型文件夹里：请另选一个。",
    "Its U-Net is shown a picture, and its VAE "
    "has no encoder: choose another VAE for it.": "它的 U-Net 需要输入图像，而它的 VAE 没有编码器：请为它另选一个 "
    "VAE。",
    "The connection broke; going on in {} s.": "连接中断；{1} 秒后继续。",
    "Comparing its sha256.": "正在核对 sha256。",
    "{} came with another length than was announced. Try again.": "{1} 的长度与所述不同。请再试一次。",
    "{} is not what was announced "
    "(its sha256 is another). It was thrown away.": "{1} 与所述不符（sha256 不同），已丢弃。",
    "{} does not answer any "
    "more. What has come is kept: try again later.": "{1} 不再应答。已下载的部分会保留：请稍后再试。",
    "{} is busy.": "{1} 繁忙。",
    "{} sends more than {} has. Nothing of it is kept.": "{1} 发来的内容超过 {2} 的大小。已全部丢弃。",
    "The hub": "Hugging Face",
    "an address that begins with https://, of a safetensors file or of a model on civitai.com": (
        "以 https:// 开头的网址：一个 safetensors 文件，或 civitai.com 上的一个模型"
    ),
    "64 hexadecimal digits, or nothing": "64 位十六进制数字，或留空",
    "The address leads to {}, which is not on the public internet; nothing was fetched.": (
        "该网址通向 {1}，它不在公共互联网上；没有下载任何内容。"
    ),
    "The address leads to one without https ({}); nothing was fetched.": (
        "该网址通向没有 https 的网址（{1}）；没有下载任何内容。"
    ),
    "{} cannot be reached ({}).": "无法连接 {1}（{2}）。",
    "{} wants a login for this file, or does not allow it.": "{1} 要求登录才能下载此文件，或不允许下载。",
    "Civitai wants a key for this file: make one in your account there, and "
    "start the studio with it in the environment variable {}.": (
        "Civitai 要求密钥才能下载此文件：请在您的账户中创建一个，并将其放入环境变量 {1} 后启动工作室。"
    ),
    "Civitai does not give this file with the key in {}: it may be in early access, or need its terms accepted.": (
        "用 {1} 中的密钥，Civitai 仍不提供此文件：它可能处于抢先体验阶段，或需要先接受条款。"
    ),
    "There is nothing at this address on {}.": "{1} 上的这个网址没有内容。",
    "{} answered with the status {}.": "{1} 的回应状态为 {2}。",
    "{} does not say how large the file is, so it cannot be told whether it came whole.": (
        "{1} 没有说明文件大小，因此无法判断它是否完整。"
    ),
    "{} is a pickle, which could run code when it is read, so it is not fetched. Is there a "
    'safetensors file of it? If not: put it into the models folder yourself, and "Convert safely" makes one.': (
        "{1} 是 pickle，读取时可能运行代码，因此没有下载。它有 safetensors 文件吗？"
        "如果没有：请自行放入模型文件夹，“安全转换”会生成一个。"
    ),
    "{} gave an answer that is no description of a model.": "{1} 给出的回答不是模型的描述。",
    "{} is of the kind {} on Civitai, which the studio does not use.": "{1} 在 Civitai 上的类型是 {2}，工作室不使用。",
    "{} has no safetensors file on Civitai; other forms could run code when they are read.": (
        "{1} 在 Civitai 上没有 safetensors 文件；其他格式在读取时可能运行代码。"
    ),
    "{} lies in the models folder already. Move it away to fetch it again.": (
        "{1} 已在模型文件夹里。要重新下载，请先把它移走。"
    ),
    "In the models folder. Nobody has said which sha256 it should have: it is {}.": (
        "已在模型文件夹中。没有人说明它应有的 sha256：它是 {1}。"
    ),
    "{} cannot be told by its header, so it was thrown away. {}": "无法从文件头判断 {1} 是什么，已丢弃。{2}",
    "{} is no embedding.": "{1} 不是嵌入。",
    "The embedding {} does not fit {}, which is "
    "{}: its vectors are {} wide, {} are needed.": "嵌入 {1} 与 {2}（{3}）不匹配：它的向量宽度是 {4}，需要 {5}。",
    "The embedding {} should "
    "have 1 to {} vectors for each text encoder.": "嵌入 {1} 对每个文本编码器应有 1 到 {2} 个向量。",
    "{} is a ControlNet for {}; {} is {}.": "{1} 是用于 {2} 的 ControlNet；{3} 是 {4}。",
    "The ControlNet folder {} has no "
    "readable config.json or no .safetensors file.": "ControlNet 文件夹 {1} 没有可读取的 config.json 或没有 "
    ".safetensors 文件。",
    "layers a level": "每级层数",
    "extra numbers": "附加数",
    "{} wants maps of {} channels, not pictures.": "{1} 需要 {2} 个通道的控制图，不是图片。",
    "{} is no ControlNet.": "{1} 不是 ControlNet。",
    "{} is no ControlNet that is whole: tensors are missing ({}).": "{1} 不是完整的 ControlNet：缺少张量（{2}）。",
    "{} does not fit "
    "this model: its {} are {}, the U-Net's {}.": "{1} 与这个模型不匹配：它的{2}是 {3}，U-Net 的是 {4}。",
    "{} is written to while it is read. Try again later.": "读取时 {1} 正在被写入。请稍后再试。",
    "the embedding {}": "嵌入 {1}",
    "one that fits ({})": "一个匹配的（{1}）",
    "{} was not converted: it asks for {}, "
    "which could run code. Do not use this file.": "{1} 没有转换：它要求 {2}，这可能运行代码。请不要使用这个文件。",
    "{} should end in .safetensors.": "{1} 应以 .safetensors 结尾。",
    "{} is there already; it is not overwritten.": "{1} 已存在；不会覆盖。",
    "{} is no pickle, so there is nothing to convert.": "{1} 不是 pickle，无需转换。",
    "{} is too large to be converted.": "{1} 太大，无法转换。",
    "{} holds compressed records, as no "
    "training program writes them: it is refused.": "{1} 含有压缩记录，训练程序不会这样写：已拒绝。",
    "it holds no table of weights.": "其中没有权重表。",
    "it holds no weights.": "其中没有权重。",
    "{} was not converted: the disk has no room for another {} GB.": "{1} 没有转换：磁盘放不下另外 {2} GB。",
    "{} was not converted: {}": "{1} 没有转换：{2}",
    "{} was not converted: {}.": "{1} 没有转换：{2}。",
    "{} is damaged or truncated: its list of records cannot be read.": "{1} 已损坏或不完整：无法读取记录列表。",
    "it wanted more memory than a file of this size needs.": "它要求的内存超过这种大小的文件所需。",
    "it cannot be read.": "无法读取。",
    "it is damaged ({}).": "文件已损坏（{1}）。",
    "the new file cannot be written ({}).": "无法写入新文件（{1}）。",
    "{} is a tensor of a kind that weights are not.": "张量 {1} 的类型不会用于权重。",
    "{} claims more values than the file holds.": "{1} 声称的数值多于文件所含。",
    "its pickle holds more than weights.": "它的 pickle 里不只有权重。",
    "it is of PyTorch's first form, "
    "a tar, which its safe reader does not read.": "它是 PyTorch 最早的 tar 格式，安全读取器不支持。",
    "{} was not converted: it was stopped.": "{1} 没有转换：已被停止。",
    "{} was not converted: it took longer than {} seconds.": "{1} 没有转换：用时超过 {2} 秒。",
    "LoRA, LoCon, LoHa, LoKr, "
    "DoRA, OFT, BOFT and full differences are run": "支持 LoRA、LoCon、LoHa、LoKr、DoRA、OFT、BOFT 和完整差分",
    "OFT of peft": "peft 的 OFT",
    "BOFT of peft": "peft 的 BOFT",
    "BOFT of another layout": "另一种布局的 BOFT",
    "(IA)³ of peft": "peft 的 (IA)³",
    "changes of norms alone": "只改动归一化层",
    "This LoRA is for a model of another family than SD "
    "1, SD 2 and SDXL, or does not say for which.": "这个 LoRA 不属于 SD 1、SD 2 或 SDXL 系列，"
    "或没有说明属于哪个系列。",
    "This adapter is of the form {}; {}.": "这个适配器的形式是 {1}；{2}。",
    "the free memory of this device ({})": "这个设备（{1}）的空闲内存",
    "files of the repository that are safetensors, JSON or text": "仓库中的 safetensors、JSON 或文本文件",
    "There is no such download.": "没有这项下载。",
    "Cancelled.": "已取消。",
    "There is no such merge.": "没有这项合并。",
    "a name of 1 to {} characters, with a letter or a number": "1 到 {1} 个字符的名称，至少含一个字母或数字",
    "{} checkpoints for this method": "此方法需要 {1} 个检查点",
    "{} different checkpoints": "{1} 个不同的检查点",
    "{} is being made already.": "{1} 已经在制作了。",
    "{} is a pickle: convert it safely first.": "{1} 是 pickle：请先安全转换。",
    "{} is no checkpoint that can be used.": "{1} 不是可以使用的检查点。",
    "{} is a diffusers folder; only single .safetensors files can be merged.": (
        "{1} 是 diffusers 文件夹；只能合并单个 .safetensors 文件。"
    ),
    "{} is {}, {} is {}: only checkpoints of one family can be merged.": (
        "{1} 是 {2}，{3} 是 {4}：只能合并同一系列的检查点。"
    ),
    "{} and {} predict different things ({} and {}), so they cannot be mixed.": (
        "{1} 和 {2} 的预测目标不同（{3} 与 {4}），因此不能混合。"
    ),
    "{} stores its weights with scales (fp8 or int8), which cannot be merged.": (
        "{1} 的权重带有缩放系数（fp8 或 int8），无法合并。"
    ),
    "{} holds only the average of its U-Net (model_ema), which cannot be merged.": (
        "{1} 只含其 U-Net 的平均值（model_ema），无法合并。"
    ),
    "{} stores weights as {}, which cannot be merged.": "{1} 以 {2} 存储权重，无法合并。",
    "{} has no VAE: that of {} stays as it is.": "{1} 没有 VAE：{2} 的 VAE 保持不变。",
    "{} has no VAE, so the new checkpoint has none.": "{1} 没有 VAE，因此新的检查点也没有。",
    "{} and {} cannot be merged: {} weights are in one of them only, such as {}.": (
        "无法合并 {1} 和 {2}：有 {3} 个权重只在其中之一里，例如 {4}。"
    ),
    "An inpainting model can be merged only as the first, or with other inpainting models alone.": (
        "局部重绘模型只能作为第一个，或只与其他局部重绘模型合并。"
    ),
    "{} and {} cannot be merged: {} has {} in the one and {} in the other.": (
        "无法合并 {1} 和 {2}：{3} 在前者中为 {4}，在后者中为 {5}。"
    ),
    "{} would hold values that are not numbers, or too large for {}.": "{1} 会含有非数值，或对 {2} 来说过大的值。",
    "{} was changed or removed meanwhile.": "{1} 在此期间被更改或移走了。",
    "The disk is too small: the new checkpoint takes {} GB, {} GB are free.": (
        "磁盘空间不足：新的检查点需要 {1} GB，剩余 {2} GB。"
    ),
    "The merge failed inside the studio; its log has the details.": "合并在工作室内部失败；详情见日志。",
    "Stopped. Nothing of it is kept.": "已停止。没有留下任何内容。",
    "{} has appeared in the models "
    "folder meanwhile; nothing was overwritten.": "期间 {1} 已出现在 models 文件夹里；没有覆盖任何内容。",
    "The disk is too small: {} GB are still to come, {} "
    "GB are free. Free some space and try again.": "磁盘空间不足：还需下载 {1} GB，空闲 {2} GB。请腾出空间再试。",
    "The hub at {} cannot be reached ({}).": "无法连接 {1} 上的 Hugging Face（{2}）。",
    "The hub at {} gave an answer that is no list of files.": "{1} 上的 Hugging Face 给出的回答不是文件列表。",
    "The studio is closing.": "工作室正在关闭。",
    "These files are on their way already.": "这些文件已在下载。",
    "In the models folder.": "已放进 models 文件夹。",
    "Cancelled. What has come "
    "is kept, and the next try goes on from there.": "已取消。已下载的部分会保留，下次从那里继续。",
    "The file could not be written: {}.": "无法写入文件：{1}。",
    "The download failed inside the studio; its log has the details.": "下载在工作室内部失败；详情见日志。",
    "Another checkpoint has been loaded meanwhile. Ask again.": "期间载入了另一个模型。请再问一次。",
    "This job does not exist any more.": "这个任务已不存在。",
    "You have {} pictures waiting or running. Wait for "
    "one to finish, or stop one, then try again.": "您有 {1} 张图像在等待或运行。请等一张完成，或停止一张，再试一次。",
    "The queue is full: {} are before you. Try again in {}.": "队列已满：您前面有 {1} 个任务。请在{2}后再试。",
    "Stopped: nobody watched it for {} minutes.": "已停止：有 {1} 分钟没有人查看。",
    "about {} minutes": "约 {1} 分钟",
    "about {} minute": "约 {1} 分钟",
    "a minute": "一分钟",
    "You may have": "您最多可有",
    "All guests of this invitation together may have": "这份邀请的所有访客合计最多可有",
    "All guests together may have": "所有访客合计最多可有",
    "Undefined here: there is no signal in x_t, or no noise.": "此处无定义：x_t 中没有信号，或没有噪声。",
    "This checkpoint has no tiny decoder. A TAESD file for "
    "its latents is put into models/vae_approx.": "这个模型没有微型解码器。请把适用于其潜变量的 TAESD 文件放进 "
    "models/vae_approx。",
    "This checkpoint has no self-attention "
    "on a grid of at most 32 × 32 places.": "这个模型在不超过 32 × 32 的网格上没有自注意力。",
    "Not available: with guidance 1 "
    "the network is called once, with the prompt.": "不可用：引导系数为 1 时，网络只带提示词计算一次。",
    "The studio is still busy with earlier questions. Try again in a moment.": "工作室还在处理之前的查询。请稍后再试。",
    "There is no answer.": "没有回答。",
    "This job is a comparison.": "这个任务是一次对比。",
    "This job is no comparison.": "这个任务不是对比。",
    "Runs no steps: the result is "
    "the picture, encoded and decoded by the VAE.": "不运行任何一步：结果就是经 VAE 编码再解码的原图。",
    "{} chunks of {} tokens": "{1} 段，每段 {2} 个词元",
    '"{}" does not switch: that is after the last step.': "“{1}”不会切换：那是在最后一步之后。",
    "The prompt was encoded in {}; nothing was cut off.": "提示词编码为 {1}；什么也没有截掉。",
    "In the negative prompt, {}": "反向提示词中：{1}",
    "The negative prompt does nothing here: guidance scale 1, or a model that is told "
    "its guidance, asks with the prompt alone.": "反向提示词在这里不起作用：引导系数为 1，或模型自带引导值时，"
    "只用提示词计算。",
    "In the second pass, {}": "在第二遍中，{1}",
    "{} does nothing with {}.": "{1} 对 {2} 不起作用。",
    "{} does nothing without APG.": "{1} 只对 APG 起作用。",
    "{} does nothing here: the guidance scale is 1, or the model is told its guidance.": "{1} 在这里不起作用："
    "引导系数为 1，或模型直接接收引导系数。",
    "Guidance acts in {} of {} evaluations. With AND all rows are computed all the same.": "引导在 {2} 次计算中的 "
    "{1} 次起作用。使用 AND 时所有行仍会计算。",
    "Guidance acts in {} of {} evaluations: {} of {} rows of the U-Net are not computed.": "引导在 {2} 次计算中的 "
    "{1} 次起作用：U-Net 的 {4} 行中有 {3} 行不用计算。",
    "None of {} evaluations is forecast: the first {} and the last are always computed, and as many after each change "
    "of the text, the guidance or a ControlNet.": "{1} 次计算中没有一次是外推的：前 {2} 次和最后一次总要计算，"
    "文本、引导或 ControlNet 改变后的同样次数也要计算。",
    "In the first pass {} of {} evaluations are forecast, without a U-Net call. The second pass follows the same "
    "rule.": "第一遍的 {2} 次计算中有 {1} 次为外推，不调用 U-Net；第二遍按同样的规则。",
    "{} of {} evaluations are forecast, without a call of the U-Net.": "{2} 次计算中有 {1} 次为外推，不调用 U-Net。",
    "with a highest noise level of {} numbers from 0 to it": "最高噪声水平为 {1} 时，从 0 到该值的数",
    "for {} nothing but its usual value": "对于 {1}，只允许通常的值",
    "Runs {} of {} steps.": "共 {2} 步，实际运行 {1} 步。",
    "evaluation {} of {}": "第 {1} / {2} 次计算",
    "{} does not hold on these steps: with a model that makes no mistake it would still end {} standard "
    "deviations away from the picture. Take more steps, "
    "another scheduler or another noise schedule.": "{1} 在这些步上不稳定：即使模型毫无误差，最后也会偏离图像 {2} "
    "个标准差。请增加步数，或换一个采样器或噪声调度。",
    "{} by {}": "{2} 的{1}",
    "Something went wrong in the studio while this picture was made. Try again; if it happens again, "
    "the log has the cause under the error id.": "生成这张图像时工作室出错了。请再试一次；如果再次出现，"
    "原因见日志中的错误编号。",
    "This could not be computed; "
    "the log has the cause under the error id {}.": "无法计算；原因见日志中的错误编号 {1}。",
    "this size": "这个尺寸",
    "A picture of {} does not fit into the free memory of this device ({}). Lower the width and height, shorten "
    "a very long "
    "prompt, or close other programs that use it.": "这个设备（{2}）的空闲内存放不下 {1} 的图像。请减小宽度和高度、"
    "缩短过长的提示词，或关闭占用内存的其他程序。",
    "The checkpoint {} is damaged: {} holds values that are not numbers. Get "
    "the file again, or choose another checkpoint.": "模型 {1} 已损坏：{2} 含有不是数字的值。请重新取得文件，"
    "或选择另一个模型。",
    "This device ({}) lacks {}, which this picture needs. Start the studio with --device cpu; on an Apple GPU, "
    "PYTORCH_ENABLE_MPS_FALLBACK=1 in the "
    "environment has the CPU compute that part.": "这个设备（{1}）缺少生成这张图像所需的{2}。请用 --device cpu "
    "启动工作室；在 Apple GPU 上，设置环境变量 PYTORCH_ENABLE_MPS_FALLBACK=1 可让 CPU 计算那一部分。",
    "The text encoder's answer to the prompt was not a number, so there is no picture. Lower the weights in the "
    "prompt and those of its "
    "LoRAs, or start the studio with --dtype fp32.": "文本编码器对提示词的输出不是数字，所以没有图像。"
    "请降低提示词和 LoRA 的权重，或用 --dtype fp32 启动工作室。",
    "The model's answer was not a number, so there is no picture. Lower the guidance, choose another scheduler, "
    "or start the studio with --dtype fp32.": "模型的输出不是数字，所以没有图像。请降低引导系数，换一个采样器，"
    "或用 --dtype fp32 启动工作室。",
    "The model's answers were finite, but the scheduler left the range of numbers in {}, so there is no picture. "
    "Choose another scheduler, noise schedule "
    "or number of steps, or lower the guidance.": "模型的输出是有限的，但采样器在{1}超出了数值范围，所以没有图像。"
    "请换采样器、噪声调度或步数，或降低引导系数。",
    "The picture that the VAE decoded was not of numbers, so there is no picture. Choose another VAE on the "
    "Models tab, lower the guidance, "
    "or start the studio with --dtype fp32.": "VAE 解码出的图像不是数字，所以没有图像。请在“模型”页选择另一个 VAE，"
    "降低引导系数，或用 --dtype fp32 启动工作室。",
    "Computed in bfloat16, {} times as fast as float32 on this CPU; --dtype fp32 leaves it.": "以 bfloat16 计算，"
    "在这个 CPU 上比 float32 快 {1} 倍；用 --dtype fp32 可不用它。",
    "Computed in float32, because the run is exact; else it were bfloat16, {} times as fast.": "以 float32 计算，"
    "因为这次运行要求精确；否则会用快 {1} 倍的 bfloat16。",
    "{}, for a run that is exact": "{1}（用于要求精确的运行）",
    "{}, {} times as fast here as float32": "{1}，在这里比 float32 快 {2} 倍",
    "{}; the VAE in {}": "{1}；VAE 用 {2}",
    "{}; the text encoders in {}": "{1}；文本编码器用 {2}",
    "This does not fit into the free memory of this device ({}) now.": "这个设备（{1}）现在的空闲内存放不下。",
    "checkpoint {}": "模型 {1}",
    "ControlNet {}": "ControlNet {1}",
    "LoRA {}": "LoRA {1}",
    "embedding {}": "嵌入 {1}",
    "The {} has been replaced on disk since this run began, "
    "so it cannot go on as it was. Start it again.": "运行开始后，磁盘上的 {1} 已被替换，所以无法照原样继续。"
    "请重新开始。",
    "Nothing was recorded of this image, or it has been dropped meanwhile.": "这张图像没有记录，或记录已被清除。",
    "text of at most {} characters, without control characters": "最多 {1} 个字符的文字，不含控制字符",
    "the run's own, {}": "该次运行自己的：{1}",
    "Tokens are counted once the checkpoint is loaded.": "模型载入后才计算词元数。",
    "This can be seen once the checkpoint "
    "is loaded. Make a picture with it first.": "模型载入后才能查看。请先用它生成一张图像。",
    "There is no such cell.": "没有这个格子。",
    "an installed checkpoint": "已安装的模型",
    "Loading {}": "正在载入 {1}",
    "{} GiB are needed, {} GiB are free": "需要 {1} GiB，空闲 {2} GiB",
    "exit code {}": "退出码 {1}",
    "it did not answer": "没有应答",
    "signal {}": "信号 {1}",
    "The engine's process has ended unexpectedly "
    "and is started anew. Try again in a moment.": "引擎进程意外结束，正在重新启动。请稍后再试。",
    "The engine's process has ended "
    "unexpectedly ({}), and this run with it. {}": "引擎进程意外结束（{1}），这次运行也随之中断。{2}",
    "The engine's process has ended unexpectedly ({}). {}": "引擎进程意外结束（{1}）。{2}",
    "It is started anew: ask again.": "正在重新启动：请再试一次。",
    "It ended too often: start the studio anew.": "结束次数过多：请重新启动工作室。",
    "Starting the engine's process": "正在启动引擎进程",
    "Something went wrong in the engine. The log has the cause under {}.": "引擎内部出错了。原因见日志中的 {1}。",
    "Stopped: the studio is closing.": "已停止：工作室正在关闭。",
    "Starting PyTorch": "正在启动 PyTorch",
    "Ready": "就绪",
    "The engine stopped; the log has the cause.": "引擎已停止；原因见日志。",
    "There is no checkpoint in the models folder.": "models 文件夹里没有模型。",
    "whole numbers from 0 to {}": "0 到 {1} 的整数",
    "{} float32 numbers, {}": "{1} 个 float32 数，{2}",
    "with {} {}": "使用 {1} 时：{2}",
    "for {} {}": "对于{1}：{2}",
    "for {} any other": "对于{1}：任何其他一种",
    "the {} evaluations by {}": "{2} 的 {1} 次计算",
    "a VAE made for {}, or another checkpoint that holds one": "适用于 {1} 的 VAE，或含有 VAE 的另一个检查点",
    "Only a pickle can be converted.": "只有 pickle 可以转换。",
    "This model is not in the models folders any more.": "这个模型已不在模型文件夹里。",
    "Only a checkpoint can be loaded.": "只有检查点可以载入。",
    "none: only a rectified flow has one": "没有：只有整流流才有",
    "a checkpoint other than the built-in one": "内置模型以外的检查点",
    "{} The CPU is used.": "{1}改用 CPU。",
    "CPU, {} threads": "CPU，{1} 线程",
    "CPU, {} thread": "CPU，{1} 线程",
    "The GPU {} computes wrongly: two and two are not four.": "GPU {1} 计算出错：二加二不等于四。",
    "{}; the GPU cannot be used, the log says why": "{1}；无法使用 GPU，原因见日志",
    "the operator {}": "算子 {1}",
    "numbers of 64 bits": "64 位数",
    "The GPU {} does not compute ({}).": "GPU {1} 无法计算（{2}）。",
    "Loading the ControlNet {}": "正在载入 ControlNet {1}",
    "the decoded picture holds values that are not numbers": "解码后的图像含有不是数字的值",
    '"{}" is read as words: there is no embedding of this name here.': "“{1}”按文字读取：这里没有这个名称的嵌入。",
    '"{}" is read as words: the embedding of this name is for {}.': "“{1}”按文字读取：这个名称的嵌入用于 {2}。",
    "a checkpoint that predicts samples": "预测图像的模型",
    "a rectified-flow checkpoint": "整流流模型",
    "a checkpoint that was trained with EDM noise levels": "按 EDM 噪声水平训练的模型",
    "a checkpoint that predicts {}": "预测 {1} 的模型",
    "with this checkpoint whole numbers "
    "from 1 to {}, its text encoder's layers": "使用这个模型时为 1 到 {1} 的整数，即其文本编码器的层数",
    "the prompt's embeddings hold values that are not numbers": "提示词的嵌入含有不是数字的值",
    "prompt scheduling with more "
    "than {} different texts of up to {} chunks": "提示词分时：超过 {1} 段不同文本，每段最多 {2} 块",
    "at most {} chunks in all: fewer steps, fewer "
    "[a|b] and [a:b:when], or a shorter prompt": "合计最多 {1} 段：请减少步数、减少 [a|b] 和 [a:b:when]，或缩短提示词",
    "text encoder {}": "文本编码器 {1}",
    "the {} ({})": "{1}（{2}）",
    "the fields quantities, fps, how": "字段 quantities、fps、how",
    "any of {}, once each": "{1} 中的任意几个，每个一次",
    "a run of the noise viewer, which records it": "噪声查看器中的运行，它会被记录",
    "whole numbers from {} to {}": "{1} 到 {2} 的整数",
    "numbers from {} to {}": "{1} 到 {2} 的数",
    "whole numbers from {} to {} in multiples of {}": "{1} 到 {2} 之间 {3} 的倍数",
    "numbers from {} to {} in multiples of {}": "{1} 到 {2} 之间 {3} 的倍数",
    "{}: {} is not allowed. Allowed: {}.": "{1}：不允许 {2}。允许：{3}。",
    "{}, whose VAE has no encoder,": "{1}（其 VAE 没有编码器）",
    "to begin with a picture, one whose VAE has an encoder: choose another VAE for "
    "it on the Models tab, or use text to image": "要从图片开始，需要 VAE 带编码器的模型：请在“模型”页为它另选一个 "
    "VAE，或使用文生图",
    "{} ({})": "{1} ({2})",
    "versions 1 to {}": "版本 1 到 {1}",
    "links of the versions 1 to {}": "版本 1 到 {1} 的链接",
    "a pair that can be run: {}": "可以运行的组合：{1}",
    "at most {} cells; take fewer values, or larger steps": "最多 {1} 格；请减少取值，或加大步长",
    "a first value that stands in the prompt or the negative prompt": "第一个值须出现在提示词或反向提示词中",
    "a prompt that names a LoRA, such as <lora:name:1>": "写明 LoRA 的提示词，例如 <lora:name:1>",
    "a picture made from words alone": "仅由文字生成的图像",
    "another axis than the first one": "与第一个轴不同的轴",
    "1: a cell is one": "1：一格就是一张",
    "strength varies a picture to start from; give one": "重绘幅度要有起始图片；请提供一张",
    "a control whose scale is varied; add one": "要改变权重的控制；请添加一个",
    "a first value to look for": "要查找的第一个值",
    "a PNG, JPEG, WebP or GIF file "
    "of at most {} MiB, or the id of a picture": "最多 {1} MiB 的 PNG、JPEG、WebP 或 GIF 文件，或图像的编号",
    "with {} whole numbers from 1 to {}": "使用 {1} 时为 1 到 {2} 的整数",
    "with {} whole numbers from 0 to {}": "使用 {1} 时为 0 到 {2} 的整数",
    "with a side of {} pixels numbers from 1 to {}": "边长为 {1} 像素时为 1 到 {2} 的数",
    "the fields {}": "字段 {1}",
    "a file of {} MiB": "{1} MiB 的文件",
    "text of at most {} characters": "最多 {1} 个字符的文字",
    "a text of {} characters": "{1} 个字符的文字",
    "a text of {} KiB": "{1} KiB 的文字",
    "a text of at most {} KiB": "最多 {1} KiB 的文字",
    "this field is needed": "必填",
    "{} cannot be seen, and goes to the text encoder with the words.": "{1} 不可见，会随文字一起送入文本编码器。",
    "A weight is beyond {} and is taken as {}.": "有一个权重超过 {1}，按 {2} 处理。",
    "And {} more remarks of this kind.": "还有 {1} 条这类说明。",
    "{} is a control character and is left out.": "{1} 是控制字符，已略去。",
    '"{}" {}': "“{1}”{2}",
    '"{}" (and {} more) {}': "“{1}”（另有 {2} 处）{3}",
    " (and {} more)": "（另有 {1} 个）",
    "U+{}{}{}": "U+{1}{2}{3}",
    'has no ">" at its end, so it is read as words.': '末尾缺少 ">"，所以按文字读取。',
    "is read as words: a LoRA is written <lora:name:1>.": "按文字读取：LoRA 写作 <lora:name:1>。",
    "is read as words: brackets and colons of a Chinese keyboard "
    "have no meaning here; write ( ) [ ] : < >.": "按文字读取：全角括号和冒号在这里没有作用；请用半角 ( ) [ ] : < >。",
    "is read as words: a weight stands in brackets, (words:1.3).": "按文字读取：权重要写在括号里，如 (words:1.3)。",
    "is read as a word: BREAK stands between spaces or commas.": "按单词读取：BREAK 前后要有空格或逗号。",
    "is read as a word: only BREAK in capitals begins a new chunk.": "按单词读取：只有大写的 BREAK 才开始新的一段。",
    "is read as words: regions of "
    "ComfyUI's prompt control are not known here.": "按文字读取：这里不支持 ComfyUI 提示词控制的区域。",
    "is read as words: there are no commands in prompts.": "按文字读取：提示词里没有命令。",
    "is read as a word: regions "
    "of the Regional Prompter are not known here.": "按单词读取：这里不支持 Regional Prompter 的区域。",
    "only lowers the weight twice: "
    "it is no list of variants, as in Fooocus.": "只是把权重降低两次：这里不像 Fooocus 那样当作变体列表。",
    "is read as words: a wildcard is "
    "the name of one file, without a star.": "按文字读取：通配符是一个文件的名字，不带星号。",
    "is read as words: no wildcard file has this name.": "按文字读取：没有这个名字的通配符文件。",
    "is read as words: the owner of this studio "
    "keeps the wildcard files to themselves.": "按文字读取：工作室主人不开放通配符文件。",
    "is read as words: its file is larger than {} MiB.": "按文字读取：它的文件大于 {1} MiB。",
    "is read as words: its file cannot be read.": "按文字读取：无法读取它的文件。",
    "is read as words: its file has no lines.": "按文字读取：它的文件里没有内容行。",
    "What is in { | } and __ __ is chosen anew for each picture, "
    "by its seed; counted is one choice.": "{ | } 和 __ __ 中的内容由每张图像的种子重新选择；这里按其中一种选择计数。",
    '"{}" asks for each in turn: '
    "here chance decides, by the picture's seed.": "“{1}”要求依次使用每一项：这里由图像的种子随机决定。",
    "the wildcard {} within {} others": "嵌套在 {2} 个其他通配符中的通配符 {1}",
    "at most {} wildcards within each other": "最多 {1} 层嵌套的通配符",
    "braces within {} others": "嵌套在 {1} 层花括号中的花括号",
    "at most {} braces within each other": "最多 {1} 层嵌套的花括号",
    "a template that becomes longer": "展开后更长的模板",
    "at most {} characters once everything is chosen": "全部选定后最多 {1} 个字符",
    "a template that goes on and on": "没有尽头的模板",
    "at most {} choices in one prompt": "一个提示词中最多 {1} 次选择",
    'Picture {} is made of "{}".': "第 {1} 张图像的提示词是“{2}”。",
    'Its negative prompt is "{}".': "其反向提示词是“{1}”。",
    "is read as words: variables of dynamic prompts are not known here.": "按文字读取：这里不支持动态提示词的变量。",
    "is read as words: curly brackets "
    "have no meaning here and change no weight.": "按文字读取：花括号在这里没有作用，也不改变权重。",
    "is read as words: weights of NovelAI "
    "are not known here, write (words:1.3).": "按文字读取：这里不支持 NovelAI 的权重，请写 (words:1.3)。",
    "is read as words: weights of Midjourney "
    "are not known here, write (words:1.3).": "按文字读取：这里不支持 Midjourney 的权重，请写 (words:1.3)。",
    "is read as words: options "
    "of Midjourney have fields of their own here.": "按文字读取：Midjourney 的选项在这里有各自的字段。",
    "is read as words: weights "
    "of InvokeAI are written (words:1.3) here.": "按文字读取：InvokeAI 的权重在这里写作 (words:1.3)。",
    "is read as words: blends "
    "and swaps of InvokeAI are not known here.": "按文字读取：这里不支持 InvokeAI 的混合与替换。",
    '"{}" is left out: a comment begins with # and ends with the line.': "“{1}”已略去：从 # 到行末是注释。",
    'The number behind the last ":" multiplies the guidance '
    "by {} and is no word, as with AND.": "最后一个“:”后的数字不是文字，它把引导强度乘以 {1}，同 AND。",
    '"AND" is read as the word here: only '
    "the prompt is composed of texts.": "这里的“AND”按单词读取：只有正向提示词才能由多段文本组合。",
    "AND: the noise viewer shows the first text's words and attention, and one conditional prediction "
    "that adds up those of all texts.": "AND：噪声查看器显示第一段的词语和注意力，以及各段相加成的一个条件预测。",
    "at most {} texts joined by AND": "最多 {1} 段由 AND 连接的文本",
    "is read as words: settings are taken from "
    "a picture or a link, not from the prompt.": "按文字读取：参数来自图片或链接，不从提示词读取。",
    "is the text encoder's own mark of where a text ends "
    "or begins, and is read as that, not as words.": "是文本编码器自己的开头或结尾标记，按标记读取，不作文字。",
    "is read as a word: it is a mark of ADetailer.": "按单词读取：它是 ADetailer 的标记。",
    "is no prompt scheduling, which is [before:after:when] "
    "or [a|b]; the brackets only lower the weight.": "不是提示词分时（应为 [before:after:when] 或 [a|b]）；"
    "方括号只降低权重。",
    "has no weight of its own: a weight is a number such as 1.3.": "没有自己的权重：权重是 1.3 这样的数。",
    "the styles {}": "风格 {1}",
    "no style: there are none yet": "不填风格：还没有任何风格",
    "words for a style, in one of the prompts": "至少在一个提示词中写上风格的文字",
    "a name": "名字",
    "one style more": "再多一个风格",
    "at most {} styles: delete one first": "最多 {1} 个风格：请先删除一个",
    "a first style": "第一个风格",
    "nothing more: this studio has styles of {} guests": "不能再多：这个工作室已有 {1} 位访客的风格",
    "A style is too long.": "风格太长。",
    "a name that no other preset has": "没有其他预设使用的名字",
    "{} came from the file.": "从文件导入了 {1} 项。",
    "The file has nothing new.": "文件中没有新内容。",
    "Other presets have their names, so these are called {}.": "这些名字已被其他预设使用，因此导入的预设叫 {1}。",
    "What you have remembered of {} stays.": "您为 {1} 记住的设置保持不变。",
    "an object with fields": "含有字段的对象",
    "JSON with presets": "含有预设的 JSON",
    "files of the versions 1 to {}": "版本 1 到 {1} 的文件",
    "{} entries": "{1} 项",
    "a list of at most {} entries": "最多 {1} 项的列表",
    "text of 1 to {} characters": "1 到 {1} 个字符的文字",
    "at most {} presets: delete one first": "最多 {1} 个预设：请先删除一个",
    "one preset more": "再多一个预设",
    "{} in {}": "{2} 中的 {1}",
    "no preset: there are none yet": "不填预设：还没有任何预设",
    "a larger one": "更大的文件",
    "The file {} in the outputs folder cannot be read": "无法读取输出文件夹中的文件 {1}",
    "presets of at most {} KiB together: delete one first": "预设合计最多 {1} KiB：请先删除一个",
    "nothing more: this studio has presets of {} guests": "不能再多：这个工作室已有 {1} 位访客的预设",
    "a first preset": "第一个预设",
    "A preset is too long.": "预设太长。",
    "The file is too large: at most {} MiB.": "文件太大：最多 {1} MiB。",
    "These settings are too long for a link: "
    "save them, and give the file away.": "这些设置太长，无法放入链接：请保存为预设，再把文件交给别人。",
    "The presets cannot be read or written down: {}.": "无法读取或写入预设：{1}。",
    "The styles cannot be written down: {}.": "无法写入风格：{1}。",
    "has no closing bracket and is read as words, as in ComfyUI.": "没有右括号，按文字读取，与 ComfyUI 相同。",
    "[ and ] are words with ComfyUI's emphasis "
    "and change no weight.": "采用 ComfyUI 权重方式时，[ 和 ] 是文字，不改变权重。",
    "has no closing bracket, so its weight holds to the end.": "没有右括号，所以权重一直到结尾都有效。",
    "closes no bracket and is read as text.": "没有对应的左括号，按文字读取。",
    "a file of at most {} MiB": "最多 {1} MiB 的文件",
    "whole numbers from 0 to {}, or -1 or nothing for a random one": "0 到 {1} 的整数；-1 或留空表示随机",
    "the name of an installed checkpoint": "已安装模型的名称",
    "true or false": "true 或 false",
    "a PNG, JPEG, WebP or GIF file": "PNG、JPEG、WebP 或 GIF 文件",
    "a list of controls": "控制的列表",
    "{} is left out: {}.": "{1} 已略去：{2}。",
    'there is no tag "{}" here': "这里没有标签“{1}”",
    "hypernetworks are not run here": "这里不支持超网络",
    "{} names no LoRA and is left out.": "{1} 没有写明 LoRA，已略去。",
    "the weight {} of the LoRA {}": "LoRA {2} 的权重 {1}",
    '{}: "{}" is not obeyed; the weights before it are.': "{1}：“{2}”不起作用；它之前的权重有效。",
    "{} does nothing in the negative prompt and is left out.": "{1} 在反向提示词中不起作用，已略去。",
    "a number from -{} to {}": "-{1} 到 {2} 的数",
    "a number": "数字",
    "nothing": "空",
    "a painted mask, or an extended canvas": "涂好的蒙版，或扩展的画布",
    "an object with the fields {}": "含字段 {1} 的对象",
    "numbers above its start, {}": "大于其开始值 {1} 的数",
    "a list of at most {} controls": "最多 {1} 个控制的列表",
    "at most {}": "最多 {1} 个",
    "{} {} of control {}": "控制 {3} 的 {1} {2}",
    "{} as control {}": "{1}（控制 {2}）",
    "{} in control {}": "控制 {2} 中的 {1}",
    "the name of an installed ControlNet": "已安装的 ControlNet 的名称",
    "float32 numbers from -{} to {}": "-{1} 到 {2} 的 float32 数",
    "width x height such as 128x128, each {}": "宽 x 高，例如 128x128，各为 {1}",
    "at least one value: {}": "至少一个取值：{1}",
    "{}, as {}": "{1}，写作{2}",
    "at most {} values; a larger step, or a count [n]": "最多 {1} 个取值；请加大步长，或写个数 [n]",
    "a count from 1 to {} in the brackets": "方括号中为 1 到 {1} 的个数",
    "at most {} values": "最多 {1} 个取值",
    "a list (2, 4, 8), a range with a step (1-20 "
    "(+3)) or a range with a count (1-10 [5])": "列表 (2, 4, 8)、带步长的范围 (1-20 (+3)) 或带个数的范围 (1-10 [5])",
    "text without control characters": "不含控制字符的文字",
    "a step that leads from the first number to the last": "能从第一个数走到最后一个数的步长",
    "a shorter list": "更短的列表",
    "pictures that have at most {} million pixels when they are extended": "扩展后最多 {1} 百万像素的图片",
    "a canvas of {}x{} pixels": "{1}x{2} 像素的画布",
    "a canvas of {} pixels": "{1} 像素的画布",
    "a mask with nothing painted": "什么也没有涂的蒙版",
    "a mask that is white somewhere": "有白色部分的蒙版",
    "a mask of {}x{} pixels": "{1}x{2} 像素的蒙版",
    "a mask of the picture's shape, {}x{} pixels": "与图片形状相同的蒙版，{1}x{2} 像素",
    "The disk of the outputs folder "
    "is full. Free some space and try again.": "输出文件夹所在的磁盘已满。请腾出空间再试。",
    "The disk quota of the outputs folder "
    "is used up. Free some space and try again.": "输出文件夹的磁盘配额已用完。请腾出空间再试。",
    "The outputs folder is on a read-only disk. "
    "Start the studio with another --outputs-dir.": "输出文件夹在只读磁盘上。请用另一个 --outputs-dir 启动工作室。",
    "The outputs folder may not be written to. Change "
    "its permissions or use another --outputs-dir.": "没有写入输出文件夹的权限。请更改权限，或使用另一个 "
    "--outputs-dir。",
    "The outputs folder is gone and cannot be made again. "
    "Check the disk that --outputs-dir names.": "输出文件夹已不存在，也无法重新建立。请检查 --outputs-dir 所在的磁盘。",
    "--outputs-dir names something that is not "
    "a folder. Start the studio with another one.": "--outputs-dir 指向的不是文件夹。请换一个再启动工作室。",
    "Today's folder inside the outputs folder "
    "is a link to another place. Remove the link.": "输出文件夹中今天的文件夹是指向别处的链接。请移除该链接。",
    "The outputs folder cannot be written to. "
    "Check its disk, or use another --outputs-dir.": "无法写入输出文件夹。请检查磁盘，或使用另一个 --outputs-dir。",
    "The picture could not be saved. {}": "无法保存图像。{1}",
    "a map of black strokes on transparent "
    "ground, of which nothing is left on black,": "透明背景上的黑色笔画，换成黑色背景后什么也看不见",
    "light strokes on black or on transparent ground; "
    "the preprocessor Scribble reads dark ones": "黑色或透明背景上的浅色笔画；预处理器“涂鸦”读取深色笔画",
    "it is not a PNG file": "不是 PNG 文件",
    "the file is cut off": "文件不完整",
    "a checksum is wrong": "校验和不对",
    "the file has more than {} parts": "文件超过 {1} 个部分",
    "a PNG, JPEG, WebP or GIF file of at most {} MiB": "最多 {1} MiB 的 PNG、JPEG、WebP 或 GIF 文件",
    "pictures of at most {} million pixels ({} million in a JPEG), {} "
    "a side, and at most {} times as long as wide": "最多 {1} 百万像素（JPEG 为 {2} 百万）、每边 {3}、长宽比不超过 "
    "{4} 的图片",
    "a file that begins with {}": "以 {1} 开头的文件",
    "a HEIC file": "HEIC 文件",
    "a HEIF file": "HEIF 文件",
    "an AVIF file": "AVIF 文件",
    "a video or HEIF file": "视频或 HEIF 文件",
    "a broken {} file": "损坏的 {1} 文件",
    "a broken PNG file ({})": "损坏的 PNG 文件（{1}）",
    "a picture of {}x{} pixels": "{1}x{2} 像素的图片",
    "a broken or cut-off {} file": "损坏或不完整的 {1} 文件",
    "a broken GIF file": "损坏的 GIF 文件",
    "a BMP file": "BMP 文件",
    "a TIFF file": "TIFF 文件",
    "a PDF file": "PDF 文件",
    "a PostScript file": "PostScript 文件",
    "a Photoshop file": "Photoshop 文件",
    "an SVG file": "SVG 文件",
    "an XML or SVG file": "XML 或 SVG 文件",
    "an HTML page": "HTML 网页",
    "a ZIP file": "ZIP 文件",
    "a Git LFS pointer, not the file itself": "Git LFS 指针，不是文件本身",
    "a broken PNG file": "损坏的 PNG 文件",
    "an empty file": "空文件",
    "a picture of over 89 million pixels": "超过 8900 万像素的图片",
    "Its weights are stored as int8 without "
    "scales ({}), so nobody can tell their values.": "它的权重以没有缩放系数的 int8 存储（{1}），无法得知其数值。",
    "Its weights are stored as {}, which the studio does not read.": "它的权重以 {1} 存储，工作室不支持。",
    "Its weights are stored as int8 with "
    "scales, which the studio does not run yet.": "它的权重以带缩放系数的 int8 存储，工作室还不支持。",
    "Its scheduler is a {}, whose noise levels the studio does not know.": "它的采样器是 {1}，工作室不知道其噪声水平。",
    "Its scheduler's prediction_type "
    "is {}, which no EDM model has.": "它的采样器的 prediction_type 是 {1}，EDM 模型没有这种类型。",
    "Its scheduler's {} is {}; allowed are {}.": "它的采样器的 {1} 是 {2}；允许 {3}。",
    "Its scheduler has {}, which the studio does not run.": "它的采样器带有 {1}，工作室不支持。",
    "Its scheduler has continuous timesteps (timestep_type), "
    "which the studio does not run.": "它的采样器使用连续时间步 (timestep_type)，工作室不支持。",
    "numbers above 0, to 100": "大于 0 且不超过 100 的数",
    "an uploaded PNG, JPEG, WebP or GIF file": "已上传的 PNG、JPEG、WebP 或 GIF 文件",
    "an uploaded PNG, JPEG, WebP or GIF file, given a few minutes ago": "几分钟内上传的 PNG、JPEG、WebP 或 GIF 文件",
    "a PNG file in base64": "base64 编码的 PNG 文件",
    "Only a run from words and "
    "a given seed is begun again by its sliders.": "只有从文字开始且种子已定的运行，才能用滑块重新开始。",
    "none: there is none in the models folders": "没有：模型文件夹里一个也没有",
    "a picture that is still there; give it again": "仍然存在的图片；请重新提供",
    "a file that is gone": "已不存在的文件",
    "image {} of control {}": "控制 {2} 的图片 {1}",
    "There is nothing here.": "这里什么也没有。",
    "The studio's disk is full.": "工作室的磁盘已满。",
    "Something went wrong in the studio; its log has the cause.": "工作室出错了；原因见日志。",
    "{} (error id {})": "{1}（错误编号 {2}）",
    "text": "文字",
    "{} bytes": "{1} 字节",
    "{} × {} = {} cells": "{1} × {2} = {3} 格",
    "{} controls": "{1} 个控制",
    "a ControlNet": "ControlNet",
    "a checkpoint": "检查点",
    "{}: {}": "{1}：{2}",
    "one of {} and {} more": "以下之一：{1}，另有 {2} 个",
    "{}, which is for {}, while {} is {},": "{1}（用于 {2}，而 {3} 是 {4}）",
    "{} and more": "{1} 等",
    "jobs": "个任务",
    "images": "张图像",
    "steps": "步",
    "megapixels": "百万像素",
    "{} {} minutes of this computer's time within an hour, and "
    "they are used. Try again in about {} minutes.": "{1}每小时 {2} 分钟的本机时间，已经用完。请在约 {3} 分钟后再试。",
    "signal {}, perhaps for want of memory": "信号 {1}，可能是内存不足",
    "the picture that this one was made from": "生成这张图像所用的图片",
    "{} {} {} waiting or running: there are {}, this has {}": "{1} {2} {3}在等待或运行：现有 {4}，这次是 {5}",
    "no change: the list of tokens is a newer studio's": "不能更改：令牌列表来自更新的工作室",
    "1 is before you": "您前面有 1 个任务",
    "{} are before you": "您前面有 {1} 个任务",
    "{}.": "{1}。",
    "{}; {}.": "{1}；{2}。",
    "{}; {}, {}.": "{1}；{2}，{3}。",
    "This request could not be understood: a part of "
    "it is missing, or is not what belongs there.": "无法理解这个请求：缺少一部分，或有不该有的内容。",
    "{}, which the owner of this studio has fixed for {}": "{1}（工作室主人已固定 {2}）",
    "{}, since the owner of this studio has fixed {}": "{1}（因为工作室主人已固定 {2}）",
    "another axis: {}": "另一个轴：{1}",
    "the word {}": "词语 {1}",
    "what the owner of this studio does not refuse": "工作室主人没有禁用的词",
    "Another checkpoint is being loaded": "正在载入另一个模型",
    "The {} {} needs about {} GiB, more than fits into {}. Start the studio {}, choose a smaller {}, "
    "or close other programs that use the memory.": "{1} {2} 需要约 {3} GiB，{4}放不下。请{5}启动工作室，"
    "选择较小的 {6}，或关闭占用内存的其他程序。",
    "with --dtype fp16 or bf16": "用 --dtype fp16 或 bf16",
    "with --fp8": "用 --fp8",
    "with --offload": "用 --offload",
    "another token": "另一个令牌",
    "at most {}; revoke one first": "最多 {1} 个；请先撤销一个",
    "a name that no other token has": "没有别的令牌使用的名称",
    "1 to {} characters": "1 到 {1} 个字符",
    "this one": "这个操作",
    "words of letters or digits": "由字母或数字组成的词",
    "the decisions {}": "以下设置之一：{1}",
    "Interrupted: the studio or its engine ended while this run was made.": "已中断：生成期间工作室或其引擎退出了。",
    "Stopped: the recorded run that it branches from was gone "
    "when the studio started again.": "已停止：工作室重新启动后，作为分支起点的运行记录已不存在。",
    "Stopped: the studio ended, and with it the share "
    "that this was asked for through.": "已停止：工作室退出了，请求所经的分享也随之结束。",
    "Another version of the studio asked for this run, "
    "and this one cannot read it. Ask for it again.": "这次运行是另一版本的工作室请求的，本版本无法读取。请重新提交。",
    "Stopped: another studio on the same outputs folder "
    "makes this run.": "已停止：使用同一输出文件夹的另一个工作室正在进行这次运行。",
    "Its pictures are larger than {} MB together, "
    "so it does not outlive the studio.": "它的图片合计超过 {1} MB，因此工作室退出后不会保留。",
    "It does not outlive the studio: {}.": "工作室退出后不会保留：{1}。",
    "the disk does not answer": "磁盘没有响应",
    "a value to lock": "要锁定的值",
    "pairs of a field and its value, of the fields {}": "字段与值的对，字段为 {1}",
    "The safety checker of this studio holds this picture back. "
    "Try other words or another seed.": "工作室的安全检查器拦下了这张图像。请换用其他词语或种子。",
    "The safety checker of this studio holds back picture {} of {} (seed {}).": "工作室的安全检查器拦下了"
    "第 {1} 张图像（共 {2} 张，种子 {3}）。",
    "The owner of this studio wants pictures to be looked at by a safety checker, "
    "and there is none in the models folders.": "工作室主人要求图像经过安全检查器，但模型文件夹中没有安全检查器。",
    "a safety checker": "安全检查器",
    "an upscaler": "放大模型",
    "an upscaler that can be used": "可用的放大模型",
    "none, automatic, or the name of an upscaler of the models folders": "none、automatic 或放大模型的名称",
    "the name of an upscaler of the models folders, or nothing for none": "模型文件夹中放大模型的名称，留空则不使用",
    "This is an upscaler of the architecture {}. The studio reads ESRGAN, Real-ESRGAN Compact and "
    "SPAN, and this one too where the package spandrel is installed.": "这是 {1} 架构的放大模型。工作室可读取 ESRGAN、"
    "Real-ESRGAN Compact 和 SPAN；安装了 spandrel 包后也可读取此架构。",
    "This upscaler is not complete: {} is missing.": "此放大模型不完整：缺少 {1}。",
    "This upscaler makes {} channels of {}; the studio's pictures have {}.": "此放大模型由 {2} 个通道生成 {1} 个通道；"
    "工作室的图像有 {3} 个通道。",
    "This upscaler ends with {} channels, which is no known scale.": "此放大模型以 {1} 个通道结束，"
    "不是已知的放大倍数。",
    "This Compact upscaler has no PReLU, and its file does not say which activation it has instead.": "此 Compact "
    "放大模型没有 PReLU，而文件没有说明它使用哪种激活函数。",
    "This ESRGAN makes pictures smaller, which is no upscaler.": "此 ESRGAN 会缩小图像，不是放大模型。",
    "{} is no upscaler that is read here: its tensors have other names or shapes.": "{1} 不是这里能读取的放大模型："
    "它的张量名称或形状不同。",
    "{} cannot be read by {}: {}.": "{2} 无法读取 {1}：{3}。",
    "{} makes {} channels of {}; the studio's pictures have {}.": "{1} 由 {3} 个通道生成 {2} 个通道；"
    "工作室的图像有 {4} 个通道。",
    "the name of an upscaler, or lanczos": "放大模型的名称，或 lanczos",
    "{} for a picture of {}": "{1}（图像大小为 {2}）",
    "a size that is at least the picture's": "不小于图像的尺寸",
    "a result of at most {} pixels a side and {} million pixels": "结果每边最多 {1} 像素，总共最多 {2} 百万像素",
    "{}, which makes pictures {} times as large,": "{1}（把图像放大 {2} 倍）",
    "with it a picture of at most {} million pixels": "使用它时图像最多 {1} 百万像素",
    "{}, a name of {} upscalers,": "{1}（{2} 个放大模型同名）",
    "lanczos: there is no upscaler in the models folders": "lanczos：模型文件夹中没有放大模型",
    "lanczos, or {}": "lanczos，或 {1}",
    "{} is no safety checker: {} is missing.": "{1} 不是安全检查器：缺少 {2}。",
    "{} is no safety checker: its tensors have other names or shapes.": "{1} 不是安全检查器：它的张量名称或形状不同。",
    "a {} file has at most {} pixels a side": "{1} 文件每边最多 {2} 像素",
    "a JPEG file holds no transparency": "JPEG 文件不能保存透明度",
    "the prompts and settings as a text": "作为文本的提示词和设置",
    "the settings": "设置",
    "{} take {} KiB, and a JPEG file holds 64 KiB": "{1}需要 {2} KiB，而 JPEG 文件只能容纳 64 KiB",
    "Saved as PNG, not as {}: {}.": "已保存为 PNG，而不是 {1}：{2}。",
    "another one, since {}": "另一种格式，因为{1}",
    "a format beside it": "同时给出格式",
    "a pattern without {}: the words are {}": "不含 {1} 的格式：可用的词为 {2}",
    "[datetime<...>] with {}, and no other word with <...>": "[datetime<...>] 中使用 {1}，其他词不带 <...>",
    "a pattern without {} outside its words": "词以外不含 {1} 的格式",
    "at most {} folders, with a name each, and a file's name behind them": "最多 {1} 个文件夹，各有名称，最后是文件名",
    "at most {} bytes of text of its own in each part": "每一部分中自有文字最多 {1} 字节",
    "[number] once, and in the file's name": "[number] 只出现一次，且在文件名中",
    "word {}": "第 {1} 个词",
    "numbers of words from 0 to {}": "0 到 {1} 的词序号",
    "0 for every word": "所有词都为 0",
    "a word that is left": "至少保留一个词",
    "at most {} pairs word:weight, such as 3:1.5,5:0; "
    "weights from 0 to {}": "最多 {1} 对词序号与权重，例如 3:1.5,5:0；权重为 0 到 {2}",
    "the run's own prompt: its words are weighted": "这次运行自己的提示词：加权的是其中的词",
    "Words are weighted from evaluation {} on: {}.": "从第 {1} 次计算起对词加权：{2}。",
    "Words are weighted from evaluation {} to {}: {}.": "第 {1} 到第 {2} 次计算对词加权：{3}。",
    "a word of the prompt, > and words in its place, such as fox>cat; at most {} characters each, without brackets, "
    "commas, colons, AND and BREAK": "提示词中的一个词、>、以及替换它的词，例如 fox>cat；每边最多 {1} 个字符，"
    "不含括号、逗号、冒号、AND 和 BREAK",
    "nothing beside a swap, which keeps the run's own": "换词时不填：换词保留这次运行自己的",
    "from evaluation {} on (counted from 0): before it the layout of another run is kept": "从第 {1} 次计算起"
    "（从 0 数）：在此之前保留另一次运行的布局",
    "a run whose prompt is one text, without AND, [a:b:when] and [a|b]": "提示词只有一段文本的运行，"
    "不含 AND、[a:b:when] 和 [a|b]",
    "a word of the prompt: {}": "提示词中的一个词：{1}",
    "a run whose words have no weights at these evaluations": "在这些计算中词没有权重的运行",
    "words that leave the others in the chunks of tokens in which they are": "不改变其他词所在词元分块的词",
    'From evaluation {} on "{}" is "{}", in the former layout up to evaluation {}.': "从第 {1} 次计算起，"
    "“{2}”换成“{3}”，直到第 {4} 次计算沿用原来的布局。",
}
