"""The texts of the tab Learn, in both languages."""

from __future__ import annotations

from collections.abc import Mapping

LEARN: Mapping[str, Mapping[str, str]] = {
    "en": {
        "tab.learn": "Learn",
        "learn.run": "Run",
        "learn.title": "How a picture comes out of noise",
        "learn.intro": "One machine, ten short chapters. Choose a chapter, or a part of the drawing. The figures "
        "show a recorded run of the built-in model; type words of your own and press Run to see yours.",
        "learn.chapters": "Chapters",
        "learn.figure": "Figure",
        "learn.previous": "Previous chapter",
        "learn.next": "Next chapter",
        "learn.try": "Try",
        "learn.question": "Question",
        "learn.more": "See it in the noise viewer",
        "learn.image": "Open Image to image",
        "learn.mask": "Open Inpaint",
        "learn.shown": "Shown: {prompt}",
        "learn.waiting": "Your run begins.",
        "learn.running": "Your run: step {index} of {total}.",
        "learn.lost": "The studio gave no answer. Press Run again.",
        "learn.absent": "The recorded run did not load. Press Run to make one of your own.",
        "learn.none": "This figure needs a run: press Run above.",
        "learn.chapter.why": "Why diffusion",
        "learn.chapter.why.text": "A GAN draws in one pass, but its two networks train against each other and "
        "may end up drawing only a few kinds of picture. Models that draw one pixel after another are steady "
        "to train and slow to draw. A diffusion model learns one plain task, to tell the noise in a picture "
        "from the picture, and draws by doing it again and again. The strip shows the picture that the model "
        "expects at each step.",
        "learn.chapter.why.try": "Click along the strip: what is there first, shapes or detail?",
        "learn.chapter.why.question": "At which step would you first have known what the picture shows?",
        "learn.chapter.forward": "Into noise",
        "learn.chapter.forward.text": "Forward, nothing is learned: z_t = a z_0 + s ε, a share a of the picture "
        "plus a share s of random noise ε. As t grows, a falls to nearly 0 and s rises to nearly 1. The bars "
        "count the values; the line is the normal distribution that they approach.",
        "learn.chapter.forward.try": "Open a picture of yours and slide t from left to right.",
        "learn.chapter.forward.question": "At which t do you lose the picture, and do you lose it sooner in "
        "pixels or in latents?",
        "learn.chapter.reverse": "Out of noise",
        "learn.chapter.reverse.text": "Backward, the model starts at pure noise. At each step it estimates the "
        "noise in x_t, and with it the clean picture; the scheduler then goes only a part of the way and "
        "asks again. The first estimates are blurred, because many pictures could lie under the same noise.",
        "learn.chapter.reverse.try": "Move through the steps and compare x_t with the predicted picture.",
        "learn.chapter.reverse.question": "What would you get if you stopped at the first estimate?",
        "learn.chapter.unet": "The U-Net",
        "learn.chapter.unet.text": "The U-Net takes noisy latents, the time t and the words, and returns its "
        "estimate of the same shape. Its blocks shrink the grid on the way down, so that each cell sees more "
        "of the picture, and widen it on the way up. Skips carry fine detail straight across.",
        "learn.chapter.unet.try": "Read the shapes along the blocks of the loaded model.",
        "learn.chapter.unet.question": "Which blocks attend to the words?",
        "learn.chapter.latent": "Latent space",
        "learn.chapter.latent.text": "The machine does not work on pixels but on latents: a small grid with a "
        "few numbers in each cell. The shapes in the drawing say how many. Latents are no picture: each "
        "channel is shown in colours of its own, blue below zero and amber above.",
        "learn.chapter.latent.try": "Move through the steps and watch the channels.",
        "learn.chapter.latent.question": "How many times fewer numbers are the latents than the picture?",
        "learn.chapter.vae": "There and back",
        "learn.chapter.vae.text": "An autoencoder, the VAE, turns pictures into latents and back. It keeps what "
        "the eye notices and drops some detail. This happens once before and once after all steps, so "
        "whatever it loses, no number of steps brings back.",
        "learn.chapter.vae.try": "Send a picture of yours through the VAE.",
        "learn.chapter.vae.question": "Where is the difference greatest: at edges, on faces, in the sky?",
        "learn.chapter.training": "Training",
        "learn.chapter.training.text": "Training repeats one exercise: take a picture with its caption, add "
        "noise ε at a random t, and let the U-Net guess ε. The loss is the mean squared error of the guess. "
        "With the right caption the guess can be better than with an empty or a wrong one.",
        "learn.chapter.training.try": "Describe the picture in the first field and measure the loss; then move t.",
        "learn.chapter.training.question": "At which t does the caption matter most?",
        "learn.chapter.words": "Words",
        "learn.chapter.words.text": "A text encoder turns each word into a vector. In the U-Net each cell of the "
        "grid asks which words concern it: softmax(QKᵀ/√d)V, the mean of the words' values V, weighted by "
        "how well the cell's query Q fits each word's key K; d is their length. The map shows how strongly "
        "each cell looks at the chosen word.",
        "learn.chapter.words.try": "Choose another word and move through the steps.",
        "learn.chapter.words.question": "Which word do the cells of the thing look at most, and which do the "
        "cells around it?",
        "learn.chapter.guidance": "Guidance",
        "learn.chapter.guidance.text": "At each step the model guesses the noise twice, without the prompt and "
        "with it. Guidance w goes further in the direction from the one to the other: ε = ε₀ + w (ε_y − ε₀). "
        "At w = 1 the prompt counts as in training; greater values follow it more closely and cost variety.",
        "learn.chapter.guidance.try": "Slide the guidance: the picture of this step is computed anew.",
        "learn.chapter.guidance.question": "What happens at w = 0, and what at 15?",
        "learn.chapter.others": "Other beginnings",
        "learn.chapter.others.text": "The same machine does more. Image to image begins at a picture with some "
        "noise instead of pure noise. Inpainting makes only what lies under a mask anew. In the noise "
        "viewer, t says how much of the picture stays.",
        "learn.chapter.others.try": "Make a picture, then send it to Image to image with strength 0.3 and 0.8.",
        "learn.chapter.others.question": "Which strength keeps the place of things, and which only their colours?",
        "machine.label": "The machine of latent diffusion",
        "machine.space.pixels": "Pixels",
        "machine.space.latent": "Latent space",
        "machine.space.conditions": "Words",
        "machine.part.picture": "A picture x",
        "machine.part.encoder": "The encoder E of the VAE",
        "machine.part.latents": "Its latents z₀",
        "machine.part.noising": "The forward process: noise is added",
        "machine.part.noise": "Pure noise z_T",
        "machine.part.unet": "The U-Net",
        "machine.part.time": "The time t",
        "machine.part.attention": "Cross-attention to the words",
        "machine.part.steps": "The loop of denoising steps",
        "machine.part.prompt": "The prompt y",
        "machine.part.text_encoder": "The text encoder τ",
        "machine.part.guidance": "Guidance w",
        "machine.part.clean": "The denoised latents",
        "machine.part.decoder": "The decoder D of the VAE",
        "machine.part.output": "The finished picture",
        "machine.symbol.picture": "x",
        "machine.symbol.latents": "z₀",
        "machine.symbol.noise": "z_T",
        "machine.symbol.clean": "ẑ₀",
        "machine.symbol.output": "x̂",
        "machine.symbol.encoder": "E",
        "machine.symbol.decoder": "D",
        "machine.symbol.prompt": "y",
        "machine.symbol.text_encoder": "τ",
        "machine.symbol.unet": "U-Net",
        "machine.word.encoder": "encoder",
        "machine.word.decoder": "decoder",
        "machine.word.prompt": "prompt",
        "machine.word.text_encoder": "text encoder",
        "machine.word.noising": "noise is added",
        "machine.word.skips": "skips",
        "machine.word.attention": "cross-attention",
        "machine.word.steps": "again, step by step",
        "machine.word.steps.count": "{count} steps",
        "machine.word.guidance": "guidance",
    },
    "zh": {
        "tab.learn": "学习",
        "learn.run": "运行",
        "learn.title": "图片如何从噪声中产生",
        "learn.intro": "一台机器，十个短章。请选择一章，或点击图中的一个部件。插图来自内置模型的一次运行记录；输"
        "入您自己的文字并点击“运行”，即可看到您自己的运行。",
        "learn.chapters": "章节",
        "learn.figure": "插图",
        "learn.previous": "上一章",
        "learn.next": "下一章",
        "learn.try": "试一试",
        "learn.question": "想一想",
        "learn.more": "在噪声查看器中查看",
        "learn.image": "打开图生图",
        "learn.mask": "打开局部重绘",
        "learn.shown": "当前显示：{prompt}",
        "learn.waiting": "您的运行即将开始。",
        "learn.running": "您的运行：第 {index} 步，共 {total} 步。",
        "learn.lost": "工作室没有回应。请再次点击“运行”。",
        "learn.absent": "运行记录未能加载。请点击“运行”，生成您自己的记录。",
        "learn.none": "此图需要一次运行：请点击上方的“运行”。",
        "learn.chapter.why": "为什么用扩散",
        "learn.chapter.why.text": "GAN 一次就能画出图片，但它的两个网络相互对抗着训练，最后可能只会画少数几种图片。"
        "逐个像素作画的模型训练稳定，却画得很慢。扩散模型只学一件简单的事：把图片中的噪声与图片区分开；作画就"
        "是反复做这件事。下方的胶片显示模型在每一步预期的图片。",
        "learn.chapter.why.try": "沿着胶片点击：先出现的是形状还是细节？",
        "learn.chapter.why.question": "到哪一步您才第一次看出图片画的是什么？",
        "learn.chapter.forward": "走向噪声",
        "learn.chapter.forward.text": "前向过程不需要学习：z_t = a z_0 + s ε，即图片的份额 a 加上随机噪声 ε 的份"
        "额 s。t 增大时，a 降到接近 0，s 升到接近 1。柱形统计各个数值，曲线是它们所趋近的正态分布。",
        "learn.chapter.forward.try": "打开您自己的一张图片，把 t 从左拖到右。",
        "learn.chapter.forward.question": "t 到多少时您认不出图片？在像素中还是在潜变量中更早认不出？",
        "learn.chapter.reverse": "走出噪声",
        "learn.chapter.reverse.text": "反向过程从纯噪声开始。模型在每一步估计带噪声的潜变量 x_t 中的噪声，从而也"
        "估计出干净的图片；随后调度器只走一部分路程，再次询问模型。最初的估计是模糊的，因为同样的噪声之下可能"
        "有许多不同的图片。",
        "learn.chapter.reverse.try": "逐步移动，比较 x_t 与预测的图片。",
        "learn.chapter.reverse.question": "如果停在第一次估计，会得到什么？",
        "learn.chapter.unet": "U-Net",
        "learn.chapter.unet.text": "U-Net 接收带噪声的潜变量、时间 t 和文字，返回同样形状的估计。它的各个块在下行"
        "时缩小网格，使每个格子看到图片的更大范围；上行时再把网格放大。跳跃连接把细节直接送到对面。",
        "learn.chapter.unet.try": "沿着已加载模型的各个块读出形状。",
        "learn.chapter.unet.question": "哪些块会关注文字？",
        "learn.chapter.latent": "潜空间",
        "learn.chapter.latent.text": "机器处理的不是像素，而是潜变量：一个小网格，每个格子里有几个数。图中的形状"
        "说明有多少个数。潜变量不是图片：每个通道用自己的颜色显示，蓝色小于零，琥珀色大于零。",
        "learn.chapter.latent.try": "逐步移动，观察各个通道。",
        "learn.chapter.latent.question": "潜变量的数字个数是图片的几分之一？",
        "learn.chapter.vae": "一去一回",
        "learn.chapter.vae.text": "自编码器 VAE 把图片变成潜变量，再变回来。它保留眼睛会注意到的东西，丢掉一些细"
        "节。这在所有步骤之前和之后各发生一次，所以它丢掉的东西，再多的步数也找不回来。",
        "learn.chapter.vae.try": "让您自己的一张图片通过 VAE。",
        "learn.chapter.vae.question": "哪里的差异最大：边缘、面部还是天空？",
        "learn.chapter.training": "训练",
        "learn.chapter.training.text": "训练反复做同一道练习：取一张图片和它的说明，在随机的 t 加入噪声 ε，让 U-Net 猜"
        "出 ε。损失是猜测的均方误差。有正确的说明时，可以比说明为空或错误时猜得更好。",
        "learn.chapter.training.try": "在第一个输入框中描述图片并测量损失，然后移动 t。",
        "learn.chapter.training.question": "在哪个 t，说明的作用最大？",
        "learn.chapter.words": "文字",
        "learn.chapter.words.text": "文本编码器把每个词变成一个向量。在 U-Net 中，网格的每个格子都会询问哪些词与"
        "自己有关：softmax(QKᵀ/√d)V，即各词的值 V 的平均，权重是格子的查询 Q 与各词的键 K 的相符程度；d 是它"
        "们的长度。图中显示每个格子有多关注所选的词。",
        "learn.chapter.words.try": "换一个词，再逐步移动。",
        "learn.chapter.words.question": "物体所在的格子关注什么，周围的格子又关注什么？",
        "learn.chapter.guidance": "引导",
        "learn.chapter.guidance.text": "模型在每一步猜两次噪声：没有提示词时一次，有提示词时一次。引导 w 沿着从前"
        "者到后者的方向走得更远：ε = ε₀ + w (ε_y − ε₀)。w = 1 时，提示词的作用与训练时相同；更大的值更贴近提"
        "示词，但会减少变化。",
        "learn.chapter.guidance.try": "拖动引导滑块：这一步的图片会重新计算。",
        "learn.chapter.guidance.question": "w = 0 时会怎样？15 时呢？",
        "learn.chapter.others": "其他起点",
        "learn.chapter.others.text": "同一台机器还能做更多。图生图不从纯噪声开始，而是从加了一些噪声的图片开始。"
        "局部重绘只重新生成蒙版之下的部分。在噪声查看器中，t 决定图片保留多少。",
        "learn.chapter.others.try": "生成一张图片，再发送到图生图，分别用强度 0.3 和 0.8。",
        "learn.chapter.others.question": "哪种强度保留物体的位置，哪种只保留颜色？",
        "machine.label": "潜空间扩散的机器",
        "machine.space.pixels": "像素",
        "machine.space.latent": "潜空间",
        "machine.space.conditions": "文字",
        "machine.part.picture": "图片 x",
        "machine.part.encoder": "VAE 的编码器 E",
        "machine.part.latents": "它的潜变量 z₀",
        "machine.part.noising": "前向过程：加入噪声",
        "machine.part.noise": "纯噪声 z_T",
        "machine.part.unet": "U-Net",
        "machine.part.time": "时间 t",
        "machine.part.attention": "对文字的交叉注意力",
        "machine.part.steps": "去噪步骤的循环",
        "machine.part.prompt": "提示词 y",
        "machine.part.text_encoder": "文本编码器 τ",
        "machine.part.guidance": "引导 w",
        "machine.part.clean": "去噪后的潜变量",
        "machine.part.decoder": "VAE 的解码器 D",
        "machine.part.output": "完成的图片",
        "machine.symbol.picture": "x",
        "machine.symbol.latents": "z₀",
        "machine.symbol.noise": "z_T",
        "machine.symbol.clean": "ẑ₀",
        "machine.symbol.output": "x̂",
        "machine.symbol.encoder": "E",
        "machine.symbol.decoder": "D",
        "machine.symbol.prompt": "y",
        "machine.symbol.text_encoder": "τ",
        "machine.symbol.unet": "U-Net",
        "machine.word.encoder": "编码器",
        "machine.word.decoder": "解码器",
        "machine.word.prompt": "提示词",
        "machine.word.text_encoder": "文本编码器",
        "machine.word.noising": "加入噪声",
        "machine.word.skips": "跳跃连接",
        "machine.word.attention": "交叉注意力",
        "machine.word.steps": "一步一步重复",
        "machine.word.steps.count": "{count} 步",
        "machine.word.guidance": "引导",
    },
}
