"""ChineseSegmenter against jieba itself, and the simple splitters."""

import logging
import random
import subprocess
import sys
import warnings

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.errors import UserError
from tfcamp.text import ChineseSegmenter
from tfcamp.text.chinese import CharacterSplitter, WhitespaceSplitter

HARD_CASES = [
    "N年龄",
    "T台湾",
    "一\r\n二\n\r三\r\r\n",
    "a\r",
    "\n",
    "\0",
    "中\0国\0人",
    "\u9fd5\u9fd6中国\u4e00\u3400",
    "\U00020000\U0002a6d6中国\U0001f600\U0010ffff",
    "\ufffe\uffff\ufdd0非字符",
    "ＡＢＣ１２３，中国人民。",
    "A股B超T恤AA制3D打印K歌",
    "a1b2c3",
    "x",
    "一2三4五",
    "+#&._%-",
    "C++和C#、.net 50.5% R&D a-b_c",
    " \t\n\x0b\x0c\x1c\x85\xa0\u2028\u3000中 国\u3000人 ",
    "",
    " ",
    "e\u0301cole",
    "中" * 100,
    "ab" * 100,
    "停飞靶击倒伏",  # two cuts equally probable but for the last bit of a logarithm
    "产品嚐",  # no word begins with the last character
    "ſKıß中国",  # letters that case folding, but not jieba, takes for ASCII
]
BLOCK_ALPHABET = "的一是中国人民年龄台湾恤北京大学生前来研究所起源有限公司" + "abNT019" + "+#&._%-"
ANY_CHARACTER = st.characters(exclude_categories=["Cs"])
TEXTS = st.one_of(
    st.text(st.sampled_from(BLOCK_ALPHABET), max_size=30),
    st.text(st.sampled_from(BLOCK_ALPHABET + " \r\n\0，\u9fd6\U0001f600"), max_size=30),
    st.text(ANY_CHARACTER, max_size=12),
    st.text(st.one_of(ANY_CHARACTER, st.characters(min_codepoint=0x4E00, max_codepoint=0x9FE0))),
)


@pytest.fixture(scope="module")
def jieba_tokenizer(tmp_path_factory):
    """A factory of fresh jieba tokenizers, started in jieba's own way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in tfcamp/text/chinese.py
        import jieba
    jieba.setLogLevel(logging.ERROR)

    def make(user_dictionary=None):
        tokenizer = jieba.Tokenizer()
        tokenizer.tmp_dir = folder
        tokenizer.initialize()
        if user_dictionary is not None:
            with open(user_dictionary, "rb") as file:
                tokenizer.load_userdict(file)
        return tokenizer

    folder = str(tmp_path_factory.mktemp("jieba"))
    return make


@pytest.fixture(scope="module")
def tokenizer(jieba_tokenizer):
    return jieba_tokenizer()


@pytest.fixture(scope="module")
def segmenter():
    return ChineseSegmenter()


def cut(segment, texts) -> list[list[str]]:
    return [[word.decode() for word in row] for row in segment(tf.constant(texts)).to_list()]


def cut_by_jieba(tokenizer, texts) -> list[list[str]]:
    return [tokenizer.lcut(text, HMM=False) for text in texts]


@pytest.mark.parametrize("text", HARD_CASES)
def test_hard_case(segmenter, tokenizer, text):
    words = cut(segmenter, [text])
    assert words == cut_by_jieba(tokenizer, [text])
    assert "".join(words[0]) == text


def test_hard_cases_in_one_batch(segmenter, tokenizer):
    # Rows that touch: what ends one row and begins the next must not be joined.
    texts = [*HARD_CASES, "a", "1", "中\r", "\n国", "北", "京"]
    assert cut(segmenter, texts) == cut_by_jieba(tokenizer, texts)


def test_golden_words(segmenter):
    assert cut(segmenter, ["N年龄", "我来到北京清华大学", "\r\n"]) == [
        ["N年", "龄"],
        ["我", "来到", "北京", "清华大学"],
        ["\r\n"],
    ]


@settings(deadline=None, max_examples=120)
@given(texts=st.lists(TEXTS, min_size=1, max_size=20))
def test_any_unicode(segmenter, tokenizer, texts):
    words = cut(segmenter, texts)
    assert words == cut_by_jieba(tokenizer, texts)
    assert ["".join(row) for row in words] == texts


def test_dictionary_words_glued_together(segmenter, tokenizer):
    # Words in a row, cut anywhere and strewn with strangers: many cuts are all but equally good.
    draw = random.Random(0)
    vocabulary = list(tokenizer.FREQ)
    texts = []
    for _ in range(1500):
        text = "".join(draw.choices(vocabulary, k=draw.randint(1, 6)))
        at = draw.randrange(len(text) + 1)
        texts.append(
            text[draw.randrange(2) : at] + draw.choice(["", "", "N", "7", " "]) + text[at:]
        )
    assert cut(segmenter, texts) == cut_by_jieba(tokenizer, texts)


def test_long_texts_among_short_ones(segmenter, tokenizer):
    draw = random.Random(1)
    unbroken = "".join(draw.choices("中国人民大学生年龄台湾北京有限公司的一", k=5000))
    long = ("".join(draw.choices(BLOCK_ALPHABET, k=40)) + "，") * 2440
    assert len(long) >= 100_000
    texts = ["北京", unbroken, "", long, "N年龄"]
    assert cut(segmenter, texts) == cut_by_jieba(tokenizer, texts)


def test_bad_bytes_harm_neither_their_row_nor_their_neighbours(segmenter):
    rows = segmenter(tf.constant(["北京".encode(), b"\xff\xfe", "中国\xe4".encode("gb18030"), b""]))
    assert rows[0].numpy().tolist() == ["北京".encode()]
    assert rows[1].numpy().tolist() == ["\ufffd".encode()] * 2
    good, bad = "北京大学".encode(), b"\xe5\x8c"
    assert cut(segmenter, [good + bad + good]) == [["北京大学", "\ufffd", "北京大学"]]


def test_eager_graph_and_pipeline_agree(segmenter):
    expected = cut(segmenter, HARD_CASES)
    assert cut(tf.function(lambda texts: segmenter(texts)), HARD_CASES) == expected
    dataset = tf.data.Dataset.from_tensor_slices(HARD_CASES).batch(5).map(segmenter)
    rows = [row for batch in dataset for row in batch.to_list()]
    assert [[word.decode() for word in row] for row in rows] == expected


@pytest.fixture(scope="module")
def saved(segmenter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter")
    tf.saved_model.save(segmenter, folder)
    return folder


def test_saved_and_loaded(segmenter, saved):
    assert cut(tf.saved_model.load(saved), HARD_CASES) == cut(segmenter, HARD_CASES)


def test_saved_tables_are_small(saved):
    assert sum(file.stat().st_size for file in saved.rglob("*") if file.is_file()) < 5e6


@pytest.mark.slow
def test_loads_with_tensorflow_alone(segmenter, saved):
    code = (
        "import sys, tensorflow as tf\n"
        f"rows = tf.saved_model.load({str(saved)!r})(tf.constant({HARD_CASES!r})).to_list()\n"
        "assert not {'jieba', 'tfcamp', 'tensorflow_text'} & set(sys.modules)\n"
        "print(ascii(rows))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii(segmenter(tf.constant(HARD_CASES)).to_list())


def test_titles_of_thucnews(segmenter, tokenizer, shared_data):
    titles = read_titles(shared_data / "thucnews/test.txt")[:2000]
    assert cut(segmenter, titles) == cut_by_jieba(tokenizer, titles)


@pytest.mark.slow
def test_all_titles_of_thucnews(segmenter, tokenizer, shared_data):
    files = [shared_data / f"thucnews/{split}.txt" for split in ("train", "dev", "test")]
    titles = [title for file in files for title in read_titles(file)]
    assert len(titles) > 100_000
    for begin in range(0, len(titles), 1024):
        batch = titles[begin : begin + 1024]
        assert cut(segmenter, batch) == cut_by_jieba(tokenizer, batch)


def read_titles(path) -> list[str]:
    return [line.split("\t")[0] for line in path.read_text("utf-8").split("\n") if line]


def test_starting_is_silent(caplog):
    with caplog.at_level(logging.DEBUG):
        ChineseSegmenter()
    assert not caplog.records


USER_DICTIONARY = """\ufeff云计算方案 5
李小福 2 nr

Edu Trust认证 2000
台中
凱特琳 nz
北京 0
龄N 30\r
一个很长很长很长的词语用来检验窗口的长度是否足够 3 n
\U0002a6d6\U0001f600 9
《红楼梦 90000
\u9fd6国 90000
最后一行没有换行符"""
USER_TEXTS = [
    "李小福是云计算方案专家，来自台中市的凱特琳",
    "北京大学在北京，年龄N岁",
    "这是一个很长很长很长的词语用来检验窗口的长度是否足够吗",
    "Edu Trust认证\U0002a6d6\U0001f600",
    "他读《红楼梦》，\u9fd6国",
    "最后一行没有换行符",
]


def test_user_dictionary_as_jieba_loads_it(tmp_path, jieba_tokenizer, segmenter):
    path = tmp_path / "words.txt"
    path.write_bytes(USER_DICTIONARY.encode())
    ours = cut(ChineseSegmenter(path), USER_TEXTS)
    assert ours == cut_by_jieba(jieba_tokenizer(path), USER_TEXTS)
    assert "李小福" in ours[0] and "北京" not in ours[1]
    assert ours != cut(segmenter, USER_TEXTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("好\n云计算".encode("gb18030"), r":1: expected UTF-8, got byte 0xba.*gb18030"),
        ("好 3\n\n云计算\t5\tn".encode(), r':3: expected "word \[frequency\] \[tag\]".*云计算'),
        ("好 3\n云计算,5,n".encode(), r":2: expected"),
        ("好 3\n云计算 5 NZ".encode(), r":2: expected"),
        ("好 3\n云计算 -5".encode(), r":2: expected"),
        ("好 3\n云计算 0.5 n".encode(), r":2: expected"),
        ("云计算 ".encode() + b"9" * 5000, r":1: the frequency is too large"),
        ("云计算 ".encode() + b"9" * 400 + "\n李小福".encode(), r":2: the frequency is too large"),
    ],
)
def test_bad_user_dictionary_names_the_line(tmp_path, content, message):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"words\.txt{message}"):
        ChineseSegmenter(path)


def test_missing_user_dictionary(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.txt: cannot read the user dictionary: No such"):
        ChineseSegmenter(tmp_path / "nowhere.txt")
    with pytest.raises(UserError, match="Is a directory"):
        ChineseSegmenter(str(tmp_path))


CHARACTERS = CharacterSplitter()


@given(text=st.text(ANY_CHARACTER, max_size=30))
@settings(deadline=None, max_examples=60)
def test_characters(text):
    assert cut(CHARACTERS, ["ab", text, ""]) == [["a", "b"], [*text], []]


def test_characters_of_bad_bytes():
    assert cut(CHARACTERS, [b"a\xffb", b"c"]) == [["a", "\ufffd", "b"], ["c"]]


def test_white_space():
    assert cut(WhitespaceSplitter(), [" 12 7\t\n900 ", "", " "]) == [["12", "7", "900"], [], []]


@pytest.mark.parametrize("splitter", [CHARACTERS, WhitespaceSplitter()])
def test_splitters_are_saved(tmp_path, splitter):
    tf.saved_model.save(splitter, tmp_path)
    texts = ["a b", "", "新 闻"]
    assert cut(tf.saved_model.load(tmp_path), texts) == cut(splitter, texts)
