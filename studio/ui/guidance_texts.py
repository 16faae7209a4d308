"""The texts of how a run is guided and which of its evaluations are forecast, in both languages."""

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
        "guidance_method.help": "CFG is the usual one. APG leaves out what only adds contrast. CFG++ adds the "
        "noise of "
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
        "viewer.guidance.method": "Method of guidance",
        "viewer.guidance.method.cfg": "CFG",
        "viewer.guidance.method.rescale": "Rescale",
        "viewer.guidance.method.apg": "APG",
        "viewer.guidance.method.cfgpp": "CFG++",
        "viewer.guidance.run": "as run",
        "viewer.guidance.vectors": "Where each method leads from x0 with the prompt",
        "viewer.guidance.along": "along x0",
        "viewer.guidance.across": "across x0",
        "viewer.whatif.note.by": "guidance {guidance} by {method}, what if",
        "viewer.whatif.by.rescale": "g = ε_u + w (ε_c − ε_u) gets back a share φ = {rescale} of the standard "
        "deviation of "
        "ε_c: φ g std(ε_c) / std(g) + (1 − φ) g (Lin et al. 2023). At this evaluation alone, from the same x_t.",
        "viewer.whatif.by.apg": "x0_c + (w − 1) D (Sadat et al. 2024). D is x0_c − x0_u, no longer than {norm} "
        "(0: no limit), "
        "and of its part along x0_c a share of {eta} stays. At this evaluation alone, without momentum, from "
        "the same x_t.",
        "viewer.whatif.by.cfgpp": "x0 from ε_u + (w / 12.5) (ε_c − ε_u) (Chung et al. 2024). The next noise "
        "level is then "
        "reached with ε_u, which this picture does not show. At this evaluation alone, from the same x_t.",
        "viewer.schedule.band": "Guidance acts in {count} of {total} evaluations (shaded): {saved} of {rows} "
        "rows of the "
        "network were not computed.",
        "viewer.undefined.guidance_band": "Not available: guidance does not act at this noise level in this "
        "run, so the "
        "network is called once, with the prompt.",
        "viewer.fact.band": "at sigma {low} to {high}",
        "viewer.fact.rescale": "rescale {share}",
        "line.guidance.band": "at sigma {low} to {high}",
        "line.guidance.from": "at sigma {low} and above",
        "line.guidance.to": "at sigma {high} and below",
        "line.rescale": "rescale {share}",
        "forecast.label": "Forecast",
        "forecast.help": "The share of the steps between the first three and the last whose answer is forecast from "
        "the two before, without the network. At 25 steps half saves 11 calls of 25. Details change, and the more is "
        "forecast, the more goes wrong. Not with schedulers of two evaluations a step.",
        "compare.axis.forecast": "Forecast",
        "viewer.fact.forecast": "{count} of {total} evaluations forecast",
        "viewer.level.forecast": "forecast",
        "line.forecast": "forecast: {share}",
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
        "viewer.guidance.method": "引导方法",
        "viewer.guidance.method.cfg": "CFG",
        "viewer.guidance.method.rescale": "重缩放 (Rescale)",
        "viewer.guidance.method.apg": "APG",
        "viewer.guidance.method.cfgpp": "CFG++",
        "viewer.guidance.run": "实际运行",
        "viewer.guidance.vectors": "从有提示词的 x0 出发，各方法指向何处",
        "viewer.guidance.along": "沿 x0",
        "viewer.guidance.across": "与 x0 垂直",
        "viewer.whatif.note.by": "引导 {guidance}，{method}，假设",
        "viewer.whatif.by.rescale": "g = ε_u + w (ε_c − ε_u) 按份额 φ = {rescale} 恢复到 ε_c 的标准差："
        "φ g std(ε_c) / std(g) + (1 − φ) g（Lin 等，2023）。只在这一次计算、从同一个 x_t 出发。",
        "viewer.whatif.by.apg": "x0_c + (w − 1) D（Sadat 等，2024）。D 是 x0_c − x0_u，长度不超过 {norm}（0 "
        "为不限），"
        "其沿 x0_c 的部分保留 {eta}。只在这一次计算、不带动量、从同一个 x_t 出发。",
        "viewer.whatif.by.cfgpp": "由 ε_u + (w / 12.5) (ε_c − ε_u) 得到的 x0（Chung 等，2024）。之后用 ε_u "
        "到达下一个噪声水平，"
        "这张图不显示这一步。只在这一次计算、从同一个 x_t 出发。",
        "viewer.schedule.band": "引导在 {total} 次计算中的 {count} 次起作用（阴影）：网络的 {rows} 行中有 "
        "{saved} 行没有计算。",
        "viewer.undefined.guidance_band": "不可用：在这次运行中，引导在这个噪声水平不起作用，"
        "所以网络只带提示词计算一次。",
        "viewer.fact.band": "sigma {low} 到 {high}",
        "viewer.fact.rescale": "重缩放 {share}",
        "line.guidance.band": "sigma {low} 到 {high}",
        "line.guidance.from": "sigma {low} 及以上",
        "line.guidance.to": "sigma {high} 及以下",
        "line.rescale": "重缩放 {share}",
        "forecast.label": "外推预测",
        "forecast.help": "前三步与最后一步之间，有多大比例的步由前两次的结果外推，不调用网络。25 步时“一半”省去 25 "
        "次调用中的 11 次。细节会变，外推得越多，出错越多。每步计算两次的采样器不支持。",
        "choice.forecast.off": "关闭",
        "choice.forecast.third": "三分之一",
        "choice.forecast.half": "一半",
        "choice.forecast.two_thirds": "三分之二",
        "compare.axis.forecast": "外推预测",
        "viewer.fact.forecast": "{total} 次计算中有 {count} 次为外推",
        "viewer.level.forecast": "外推",
        "line.forecast": "外推预测：{share}",
    },
}
