"""The texts of how a run is guided, in both languages."""

from __future__ import annotations

from collections.abc import Mapping

GUIDANCE: Mapping[str, Mapping[str, str]] = {
    "en": {
        "guidance.label": "Guidance, in detail",
        "guidance_low.label": "Lowest sigma with guidance",
        "guidance_low.help": "Below it the prompt alone is asked, which costs half as much. 0: no limit.",
        "guidance_high.label": "Highest sigma with guidance",
        "guidance_high.help": "Above it the prompt alone is asked, which costs half as much. 0: no limit.",
        "guidance_rescale.label": "Rescale",
        "guidance_rescale.help": "The share of the prediction that has its former contrast again, from "
        "0 to 1. About 0.7 helps against glaring pictures.",
        "guidance_method.label": "Method",
        "guidance_method.help": "CFG is the usual one. APG leaves out what only adds contrast. CFG++ adds the noise of "
        "the negative prompt back: with Euler, Euler a and DDIM.",
        "apg_eta.label": "APG eta",
        "apg_eta.help": "The share of the part that only adds contrast, from 0 to 1. 1 keeps it all.",
        "apg_norm.label": "APG norm",
        "apg_norm.help": "The greatest length of the guidance's change. 0: no limit.",
        "apg_momentum.label": "APG momentum",
        "apg_momentum.help": "What each step takes over from the changes before it, from -1 to 1. Below 0 it holds "
        "them back.",
        "compare.axis.guidance_low": "Lowest sigma with guidance",
        "compare.axis.guidance_high": "Highest sigma with guidance",
        "compare.axis.guidance_rescale": "Guidance rescale",
        "compare.axis.guidance_method": "Guidance method",
        "line.guidance.band": "at sigma {low} to {high}",
        "line.guidance.from": "at sigma {low} and above",
        "line.guidance.to": "at sigma {high} and below",
        "line.rescale": "rescale {share}",
    },
    "zh": {
        "guidance.label": "引导细节",
        "guidance_low.label": "引导的最低 sigma",
        "guidance_low.help": "低于它时只用提示词计算，计算量减半。0 为不限。",
        "guidance_high.label": "引导的最高 sigma",
        "guidance_high.help": "高于它时只用提示词计算，计算量减半。0 为不限。",
        "guidance_rescale.label": "重缩放 (Rescale)",
        "guidance_rescale.help": "预测中恢复到无引导时对比度的比例，从 0 到 1。约 0.7 可减轻画面过曝。",
        "guidance_method.label": "方法",
        "guidance_method.help": "CFG 是通常的方法。APG 去掉只增加对比度的部分。"
        "CFG++ 用反向提示词的噪声加噪：可用于 Euler、Euler a 和 DDIM。",
        "apg_eta.label": "APG eta",
        "apg_eta.help": "保留只增加对比度的部分的比例，从 0 到 1。1 为全部保留。",
        "apg_norm.label": "APG 范数",
        "apg_norm.help": "引导改变量的最大长度。0 为不限。",
        "apg_momentum.label": "APG 动量",
        "apg_momentum.help": "每一步从之前的改变量中继承的比例，从 -1 到 1。小于 0 时起抑制作用。",
        "compare.axis.guidance_low": "引导的最低 sigma",
        "compare.axis.guidance_high": "引导的最高 sigma",
        "compare.axis.guidance_rescale": "引导重缩放",
        "compare.axis.guidance_method": "引导方法",
        "choice.guidance_method.cfg": "CFG",
        "choice.guidance_method.apg": "APG",
        "choice.guidance_method.cfgpp": "CFG++",
        "line.guidance.band": "sigma {low} 到 {high}",
        "line.guidance.from": "sigma {low} 及以上",
        "line.guidance.to": "sigma {high} 及以下",
        "line.rescale": "重缩放 {share}",
    },
}
