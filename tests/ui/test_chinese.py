"""The Chinese column beside the English one: the same keys and places, no English left, the punctuation of Chinese."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from studio.asked.messages import Message
from studio.export.replay import Replay
from studio.ui import language, text
from studio.ui.chinese import CHINESE
from studio.ui.chinese_messages import CHINESE_MESSAGES, chinese_of
from studio.ui.chinese_spacing import spaced
from studio.ui.viewer.replay_page import replay_page
from studio.web.entrance import login_page
from tests.export.test_files import recording
from tests.ui.test_text import places

ENGLISH = text.COLUMNS["en"]
COLUMNS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {  # English, Chinese
    "page": (ENGLISH, {**CHINESE, **{key: words for part in text.PARTS for key, words in part["zh"].items()}}),
    "captions": (text.VIEWER_CAPTIONS["en"], text.VIEWER_CAPTIONS["zh"]),
    "settings": (text.PICTURE_SETTINGS["en"], text.PICTURE_SETTINGS["zh"]),
}
PAIRS = [(key, first[key], second[key]) for first, second in COLUMNS.values() for key in first if key in second]
# Words that are the same in both languages: names, symbols of the papers, units, keys of the keyboard.
TERMS = re.compile(
    r"Latent Studio|English|中文|Ctrl\+Enter|Esc|ControlNet|LoRA|VAE|U-Net|TAE|TI|CN|SHA-256|EDM|epsilon|safetensors"
    r"|L?DM|GAN|pickle|Lanczos|Normal|Karras|Exponential|Beta|SGM uniform|Simple|AYS|SNR|log-SNR|RMS|PSNR|dB|ms|log₁₀"
    r"|CFG|APG(?: eta)?|Polyexponential|KL Optimal|Turbo|ComfyUI|Eta|ENSD|Sigma (?:churn|tmin|tmax|noise)"
)
EXAMPLES = {"viewer.loss.wrong.example", "learn.begin.example"}  # prompts, which the text encoders read in English
HAN = r"[\u4e00-\u9fff]"


@pytest.mark.parametrize("column", COLUMNS)
def test_the_columns_have_the_same_keys_places_and_lines(column: str) -> None:
    english, chinese = COLUMNS[column]
    assert chinese.keys() == english.keys()
    for key, words in chinese.items():
        assert places(words) == places(english[key]), key
        assert words.count("\n") == english[key].count("\n"), key
        assert words.startswith("# ") == english[key].startswith("# "), key
        assert set(re.findall(r"`\w+`", words)) == set(re.findall(r"`\w+`", english[key])), key


def test_nothing_is_left_in_english_but_the_terms() -> None:
    def latin(words: str) -> list[str]:
        rest = TERMS.sub(" ", re.sub(r"\{\w+\}", " ", words))
        return re.findall(r"[A-Za-z]{3,}", rest)

    for key, english, chinese in PAIRS:
        if english == chinese and key not in EXAMPLES:
            assert not latin(chinese), key


def test_a_sentence_ends_as_a_sentence_and_a_label_as_a_label() -> None:
    for key, english, chinese in PAIRS:
        assert english.endswith(".") == chinese.endswith("。"), key
        assert english.endswith("…") == chinese.endswith("…"), key
        if len(english) > 1:
            assert english.endswith("?") == chinese.endswith("？"), key


def test_chinese_has_its_own_punctuation_and_spaces() -> None:
    for key, _, words in PAIRS:
        assert not re.search(rf"{HAN}[,.?!;:()]|[,.?!;:()]{HAN}", words), key
        assert not re.search(rf"{HAN}[A-Za-z0-9{{]|[A-Za-z0-9}}%]{HAN}", words), key
        assert not re.search(r"[，。；：、（）！？] | [，。；：、（）！？]", words), key


def test_the_reader_is_addressed_politely() -> None:
    for key, _, words in PAIRS:
        assert not re.search(r"你|我们", words), key


def test_the_messages_of_the_other_rooms_have_their_values_in_chinese_too() -> None:
    for english, chinese in CHINESE_MESSAGES.items():
        values = [str(k + 1) for k in range(english.count("{}"))]
        assert sorted(set(re.findall(r"\{(\d+)\}", chinese))) == values, english
        assert english.endswith(".") == chinese.endswith("。"), english
        assert not re.search(rf"{HAN}[,.?!;:()]|[,.?!;:()]{HAN}", chinese), english
        assert not re.search(r"你|我们", chinese), english
    assert chinese_of("Runs {run} of {steps} steps.") == "共 {steps} 步，实际运行 {run} 步。"
    assert chinese_of("Nobody says this.") is None


@pytest.mark.parametrize(
    ("sentence", "value", "said"),
    [
        ("无法载入{part}：", "VAE", "无法载入 VAE："),
        ("无法载入 {part}：", "文本编码器", "无法载入文本编码器："),
        ("{part}的类是", "U-Net", "U-Net 的类是"),
        ("允许：{part}。", "整数", "允许：整数。"),
        ("不允许 {part}。", "'猫'", "不允许 '猫'。"),
        ("占 {part}% 的", "50", "占 50% 的"),
        ("没有{part}", "", "没有"),
    ],
)
def test_a_value_has_the_spaces_that_it_needs(sentence: str, value: str, said: str) -> None:
    assert spaced(sentence, {"part": value}).format(part=value) == said


# Other words for what docs/translating.md gives one word to.
SYNONYMS = (
    "咒语",
    "负面提示",
    "负向提示",
    "去噪强度",
    "隐变量",
    "隐空间",
    "基础模型",
    "步骤条",
    "所有者",
    "遮罩",
    "蒙板",
)


def test_one_thing_has_one_word() -> None:
    for key, words in [*((key, words) for key, _, words in PAIRS), *CHINESE_MESSAGES.items()]:
        assert not any(other in words for other in SYNONYMS), key


def test_a_message_is_said_with_its_parts_in_chinese() -> None:
    part = Message("text encoder")
    refusal = Message("There is no {part} in {file}.", part=part, file="a.safetensors")
    with language.speaking("zh"):
        assert text.spoken(refusal) == "a.safetensors 里没有文本编码器。"
        assert text.spoken(Message("There is no {part} in {file}.", part="VAE", file="b")) == "b 里没有 VAE。"
        assert text.spoken({"a": [Message("Nobody says this.")]}) == {"a": ["Nobody says this."]}
    assert text.spoken(refusal) == "There is no text encoder in a.safetensors."


def test_the_pages_outside_the_page_speak_chinese_too() -> None:
    data = recording(2, total=2, job_id="a")
    with language.speaking("zh"):
        login, replay = bytes(login_page().body).decode(), replay_page(data, Replay(data).run).decode()
    assert '<html lang="zh-CN">' in login
    assert "登录" in login
    assert '<html lang="zh-CN">' in replay
    props = json.loads(replay.split('id="props">')[1].split("</script>")[0])
    assert props["languages"]["zh"]["words"]["play"] == "播放"
    assert props["languages"]["zh"]["noise_schedules"]["automatic"] == "自动 (Automatic)"
    assert props["languages"]["en"]["words"]["play"] == "Play"
    assert '<html lang="en">' in replay_page(data, Replay(data).run).decode()
