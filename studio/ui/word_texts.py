"""The texts of the viewer about single words of a prompt, in both languages."""

from __future__ import annotations

from collections.abc import Mapping

PROMPT_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "viewer.tab.weights": "Weights",
        "viewer.weights.what": "m is the weight of a word's tokens: 1 is as it was, 0 takes the word out of the "
        "attention, 2 doubles its part before each place's parts are brought to 1. The tokens behind a word still know "
        "of it from the text encoder.",
        "viewer.weights.words": "Weight of each word",
        "viewer.weights.of": "Weight of “{word}”",
        "viewer.weights.until": "Up to evaluation",
        "viewer.weights.go": "Go on from evaluation {index} with these weights",
        "viewer.weights.reset": "All to 1",
        "viewer.weights.first": "Move a word's weight: the network is asked about this evaluation once more.",
        "viewer.weights.asking": "Calling the network once more…",
        "viewer.weights.none_left": "At least one word has to be left.",
        "viewer.weights.size": "The predicted noise changes by {change} RMS, of {noise}: {share} %.",
        "viewer.weights.recorded": "Predicted x0 as recorded",
        "viewer.weights.weighted": "Predicted x0 with these weights",
        "viewer.weights.change": "Change of the predicted noise",
        "viewer.weights.scale": "RMS per cell, 0 … {high}",
        "viewer.swap": "Swap a word, keep the layout",
        "viewer.swap.what": "Another word in the place of one, from this evaluation on (Prompt-to-Prompt). At first "
        "each place goes on looking where it looked in the recorded run: Q₀ and K₀ are that run's, V is of the new "
        "words, and A hands what went to the old word to the new one. Then the picture is free: the longer it keeps "
        "the layout, the less its shapes change.",
        "viewer.swap.word": "Word to swap",
        "viewer.swap.replacement": "Word in its place",
        "viewer.swap.keep": "Keeps the layout for so many evaluations",
        "viewer.swap.go": "Go on from evaluation {index} with the new word",
        "viewer.effect": "What did this word do?",
        "viewer.effect.what": "The run once more from the same noise with weight 0 for one word, and how far the "
        "picture differs at each evaluation.",
        "viewer.effect.word": "Word",
        "viewer.effect.make": "Run without “{word}”",
        "viewer.effect.making": "The run without it: {done} of {total} evaluations.",
        "viewer.effect.wait": "Once this run has ended.",
        "viewer.effect.note": "The difference is in predicted x0. The run without “{word}” stands among the branches.",
        "viewer.effect.with": "Predicted x0 with it",
        "viewer.effect.without": "Predicted x0 without it",
        "viewer.effect.apart": "Difference",
        "viewer.effect.sizes": "Difference at each evaluation (RMS of predicted x0)",
        "viewer.lost": "Which word will be lost?",
        "viewer.lost.formula": "1 − max over places of G ∗ (Aᵢ / Σⱼ Aⱼ)",
        "viewer.lost.what": "A word that no place looks at leaves nothing in the picture (Attend-and-Excite). Aᵢ is "
        "the mean attention to word i of the finest layers with at most 16 × 16 places, G a Gaussian over 3 × 3 of "
        "them. It is read from the recording and changes nothing. How often it is right: docs/viewer.md.",
        "viewer.lost.above": "at risk",
        "viewer.lost.risk": "At risk at evaluation {index}:",
        "viewer.lost.none": "No word is at risk at evaluation {index}.",
        "viewer.lost.help": "Help “{word}”: go on from here with weight 2",
        "viewer.lost.mark": "At risk of being lost: see below",
        "viewer.branches.changed.word_weights": "weights {value}",
        "viewer.branches.changed.weights_until": "up to evaluation {value}",
        "viewer.branches.changed.swap": "swap {value}",
        "viewer.branches.changed.swap_until": "layout up to {value}",
    },
    "zh": {
        "viewer.tab.weights": "词权重",
        "viewer.weights.what": "m 是一个词的词元的权重：1 保持原样，0 把这个词移出注意力，"
        "2 在每个位置归一化之前把它的份额加倍。通过文本编码器，后面的词元仍然知道这个词。",
        "viewer.weights.words": "每个词的权重",
        "viewer.weights.of": "“{word}”的权重",
        "viewer.weights.until": "直到第几次计算",
        "viewer.weights.go": "以这些权重从第 {index} 次计算继续",
        "viewer.weights.reset": "全部设为 1",
        "viewer.weights.first": "移动一个词的权重：网络会对这次计算再算一遍。",
        "viewer.weights.asking": "网络正在再计算一次…",
        "viewer.weights.none_left": "至少要保留一个词。",
        "viewer.weights.size": "预测噪声的变化为 {change} RMS，噪声本身为 {noise}：{share} %。",
        "viewer.weights.recorded": "记录中的预测 x0",
        "viewer.weights.weighted": "使用这些权重的预测 x0",
        "viewer.weights.change": "预测噪声的变化",
        "viewer.weights.scale": "每格的 RMS，0 … {high}",
        "viewer.swap": "换一个词，保留布局",
        "viewer.swap.what": "从这次计算起，用另一个词代替一个词（Prompt-to-Prompt）。开始时，"
        "每个位置仍然看向它在记录的运行中看的地方：Q₀ 和 K₀ 来自那次运行，V 来自新的词，"
        "A 把原来给旧词的份额交给新词。之后图像自由变化：保留布局越久，形状变化越少。",
        "viewer.swap.word": "要换的词",
        "viewer.swap.replacement": "代替它的词",
        "viewer.swap.keep": "保留布局的计算次数",
        "viewer.swap.go": "用新词从第 {index} 次计算继续",
        "viewer.effect": "这个词起了什么作用？",
        "viewer.effect.what": "从同样的噪声再运行一次，其中一个词的权重为 0，并显示每次计算中图像有何不同。",
        "viewer.effect.word": "词",
        "viewer.effect.make": "运行不含“{word}”的版本",
        "viewer.effect.making": "不含该词的运行：第 {done} / {total} 次计算。",
        "viewer.effect.wait": "等这次运行结束。",
        "viewer.effect.note": "差异取自预测 x0。不含“{word}”的运行列在分支中。",
        "viewer.effect.with": "含该词的预测 x0",
        "viewer.effect.without": "不含该词的预测 x0",
        "viewer.effect.apart": "差异",
        "viewer.effect.sizes": "每次计算的差异（预测 x0 的 RMS）",
        "viewer.lost": "哪个词会丢失？",
        "viewer.lost.formula": "1 − 各位置上 G ∗ Aᵢ / Σⱼ Aⱼ 的最大值",
        "viewer.lost.what": "没有任何位置关注的词，在图像中不会留下什么（Attend-and-Excite）。"
        "Aᵢ 是不超过 16 × 16 个位置的最细层对第 i 个词的平均注意力，G 是 3 × 3 个位置上的高斯。"
        "它只读取记录，不改变任何东西。它有多准：见 docs/viewer.md。",
        "viewer.lost.above": "有风险",
        "viewer.lost.risk": "第 {index} 次计算时有风险的词：",
        "viewer.lost.none": "第 {index} 次计算时没有词有风险。",
        "viewer.lost.help": "帮助“{word}”：从这里起以权重 2 继续",
        "viewer.lost.mark": "有丢失的风险：见下方",
        "viewer.branches.changed.word_weights": "词权重 {value}",
        "viewer.branches.changed.weights_until": "直到第 {value} 次计算",
        "viewer.branches.changed.swap": "换词 {value}",
        "viewer.branches.changed.swap_until": "布局保留到第 {value} 次",
    },
}
