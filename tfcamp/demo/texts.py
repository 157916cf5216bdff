"""Everything that the page says, in English and in Chinese."""

from dataclasses import dataclass

# A language is called by its own name on either page.
_LANGUAGES = {
    "de": "Deutsch",
    "en": "English",
    "es": "Español",
    "fr": "Français",
    "it": "Italiano",
    "ja": "日本語",
    "ko": "한국어",
    "pt": "Português",
    "ru": "Русский",
    "zh": "中文",
}


def language_name(code: str) -> str:
    """Returns what speakers of a language call it; the code where that is not known here.

    >>> [language_name(code) for code in ("zh", "de", "xx")]
    ['中文', 'Deutsch', 'xx']
    """
    return _LANGUAGES.get(code, code)


@dataclass(frozen=True)
class Texts:
    """The words of the page in one language; braces are filled in.

    Attributes:
      language: ISO 639-1 code.
      name: of the language, in itself.
      refusals: what is said to bad input, by the reason of a `Refusal`.
      class_names: of the sections that the news model knows; others are shown as they are.
    """

    language: str
    name: str
    title: str
    subtitle: str
    examples: str

    headline_tab: str
    headline_label: str
    headline_hint: str
    headline_button: str
    headline_legend: str
    headline_classes: str
    headline_cut: str

    number_tab: str
    number_hint: str
    number_choose: str
    number_clear: str
    number_example: str
    number_sure: str
    number_unsure: str
    number_nothing: str
    number_heat: str

    sentence_tab: str
    sentence_direction: str
    sentence_label: str
    sentence_hint: str
    sentence_button: str
    sentence_best: str
    sentence_attention: str
    sentence_deepest: str
    sentence_no_map: str
    sentence_cut: str
    sentence_empty: str

    no_model: str
    refusals: dict[str, str]
    class_names: dict[str, str]


ENGLISH = Texts(
    language="en",
    name="English",
    title="tfcamp",
    subtitle="Trained models answer on this machine; what you type or draw does not leave it.",
    examples="Try one",
    headline_tab="Headline",
    headline_label="A Chinese headline",
    headline_hint="Paste or type a headline",
    headline_button="Classify",
    headline_legend=(
        "Blue words speak for “{label}”, orange ones against it. Under a word stands how probable "
        "“{label}” would be without it."
    ),
    headline_classes="Probability of each section",
    headline_cut="The headline has {count} words; only the first {limit} change the answer.",
    number_tab="House number",
    number_hint="Draw a number, or choose a photograph and drag a frame around its number.",
    number_choose="Choose a photograph",
    number_clear="Clear",
    number_example="Example {}",
    number_sure="{} % sure of the whole number",
    number_unsure="That is a guess: is the frame close around the number?",
    number_nothing="No number was read.",
    number_heat="Orange: what speaks for this number (Grad-CAM)",
    sentence_tab="Sentence",
    sentence_direction="Translate",
    sentence_label="A sentence",
    sentence_hint="Paste or type a sentence",
    sentence_button="Translate",
    sentence_best="The best of a beam of eight, and their scores",
    sentence_attention="Where the model looked (across) while it wrote (down), in a beam of four",
    sentence_deepest="deepest",
    sentence_no_map="No map of attention: the sentence is too long for one.",
    sentence_cut="The sentence has {count} subwords; the first {limit} were translated.",
    sentence_empty="(nothing)",
    no_model="No model in {folder} yet. Train one, then start the demo again:",
    refusals={
        "empty_text": "There is no text yet.",
        "long_text": "That is too long: at most {limit} characters.",
        "no_picture": "There is no picture yet.",
        "large_picture": "That picture is too large: choose a smaller one.",
        "broken_picture": "That is no picture that can be read: choose a PNG or a JPEG.",
        "bad_model": "The model in {folder} cannot be used: it is damaged or of another kind.",
        "failure": "Something went wrong here; the terminal says more.",
    },
    class_names={},
)

CHINESE = Texts(
    language="zh",
    name="中文",
    title="tfcamp",
    subtitle="训练好的模型在本机作答，输入的内容不会离开这台机器。",
    examples="试一试",
    headline_tab="新闻标题",
    headline_label="一条中文新闻标题",
    headline_hint="粘贴或输入一条标题",
    headline_button="分类",
    headline_legend="蓝色的词支持“{label}”，橙色的词反对。词下方是去掉这个词后“{label}”的概率。",
    headline_classes="各栏目的概率",
    headline_cut="这条标题有 {count} 个词，只有前 {limit} 个影响答案。",
    number_tab="门牌号",
    number_hint="写一个数字，或者选一张照片，再拖出一个框，框住门牌号。",
    number_choose="选择照片",
    number_clear="清除",
    number_example="示例 {}",
    number_sure="整个号码的置信度：{} %",
    number_unsure="这只是猜测：框是否紧贴号码？",
    number_nothing="没有读出号码。",
    number_heat="橙色：支持这个号码的位置（Grad-CAM）",
    sentence_tab="句子",
    sentence_direction="翻译方向",
    sentence_label="一个句子",
    sentence_hint="粘贴或输入一个句子",
    sentence_button="翻译",
    sentence_best="集束宽度为 8 时的最佳译文及得分",
    sentence_attention="模型写每个词（纵向）时看向哪里（横向），集束宽度为 4",
    sentence_deepest="最深",
    sentence_no_map="句子太长，不画注意力图。",
    sentence_cut="这个句子有 {count} 个子词，只翻译了前 {limit} 个。",
    sentence_empty="（空）",
    no_model="{folder} 里还没有模型。请先训练一个，再重新启动演示：",
    refusals={
        "empty_text": "还没有文字。",
        "long_text": "太长了：最多 {limit} 个字符。",
        "no_picture": "还没有图片。",
        "large_picture": "图片太大：请选小一些的。",
        "broken_picture": "无法读取这张图片：请选 PNG 或 JPEG。",
        "bad_model": "{folder} 里的模型无法使用：已损坏，或者不是这一类模型。",
        "failure": "这里出了错，详情见终端。",
    },
    class_names={
        "finance": "财经",
        "realty": "房产",
        "stocks": "股票",
        "education": "教育",
        "science": "科技",
        "society": "社会",
        "politics": "时政",
        "sports": "体育",
        "game": "游戏",
        "entertainment": "娱乐",
    },
)

ALL = (ENGLISH, CHINESE)
