"""SubwordTokenizer against SentencePiece itself."""

import gzip
import itertools
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tfcamp.data.samples
from tfcamp.errors import UserError
from tfcamp.text.subword import SubwordTokenizer, train_subwords
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID, UNKNOWN_ID

TABLES = sorted(Path(tfcamp.data.samples.__file__).parent.glob("*/*.tsv"))
LINES = [
    text for table in TABLES for line in table.read_text("utf-8").split("\n")
    for text in line.split("\t") if text
]  # fmt: skip
BYTE = {byte: 4 + byte for byte in range(256)}

HARD_CASES = [
    "",
    " ",
    "  two  spaces  ",
    "\t\n\r\n\x0b\x0c\x1c\x85\xa0\u2028\u3000",
    "\0",
    "a\0b",
    "\ufeffmark",
    "<s> </s> <pad> <unk> <0x41>",
    "e\u0301cole, école",
    "ﬁ Ａ①² Ⅳ",
    "👩‍👩‍👧‍👦🇨🇳",
    "\ufffd\ufffe\uffff\U0010ffff",
    "⁇ ▅",
    "中" * 100,
    "ab " * 100,
    "Donaudampfschifffahrtsgesellschaft",
]
BAD_BYTES = [
    b"\xff",
    b"ok \xe4\xb8",
    b"\xe4\xb8 ok",
    b"\xf0\x9f\x98x",
    b"\xed\xa0\x80",  # a surrogate
    b"\xc0\x80\xe0\x80\x80\xf5\x80\x80\x80",  # overlong, too large
    b"\xf4\x8f\xbf\xbf\xf4\x90\x80\x80",
    "中国".encode("gb18030"),
    "中国".encode("utf-16"),
]
ANY_CHARACTER = st.characters(exclude_categories=["Cs"])
TEXTS = st.one_of(
    st.text(ANY_CHARACTER, max_size=12),
    st.text(st.sampled_from("the cat of我们的是。 \u3000▁é\0\n"), max_size=30),
    st.lists(st.sampled_from(LINES), max_size=3).map(" ".join),
)


@pytest.fixture(scope="module")
def model():
    return train_subwords(LINES, vocabulary_size=3000)


@pytest.fixture(scope="module")
def processor(model):
    return sentencepiece.SentencePieceProcessor(model_proto=model)


@pytest.fixture(scope="module")
def tokenizer(model):
    return SubwordTokenizer(model)


def encode(tokenize, texts) -> list[list[int]]:
    return tokenize(tf.constant(texts, tf.string)).to_list()


def decode(tokenizer, ids) -> list[str]:
    return [text.decode() for text in tokenizer.decode(ids).numpy()]


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number >> 7)


def message(*fields: tuple[int, bytes | float | int]) -> bytes:
    """Writes a protocol buffer; SentencePiece's own classes want one version of protobuf."""
    written = b""
    for number, value in fields:
        if isinstance(value, bytes):
            written += varint(number << 3 | 2) + varint(len(value)) + value
        elif isinstance(value, int):
            written += varint(number << 3) + varint(value)
        else:
            written += varint(number << 3 | 5) + struct.pack("<f", value)
    return written


def make_model(scores: dict[str, float], *, byte_fallback: int = 1, dummy_prefix: int = 1) -> bytes:
    """Returns a model of the given pieces, whose ids begin at 260."""
    normal, unknown, control, byte = 1, 2, 3, 6
    pieces = [("<pad>", 0.0, control), ("<unk>", 0.0, unknown)]
    pieces += [("<s>", 0.0, control), ("</s>", 0.0, control)]
    pieces += [(f"<0x{i:02X}>", 0.0, byte) for i in range(256 * byte_fallback)]
    pieces += [(piece, float(score), normal) for piece, score in scores.items()]
    written = [message((1, name.encode()), (2, score), (3, kind)) for name, score, kind in pieces]
    return message(
        *[(1, piece) for piece in written],
        (2, message((35, byte_fallback))),
        (3, message((1, b"identity"), (3, dummy_prefix), (4, 0))),
    )


def test_golden_ids():
    # ▁=260 a=261 b=262 ab=263 abc=264; an unknown character scores -8 - 10.
    tokenizer = SubwordTokenizer(make_model({"▁": -1, "a": -2, "b": -3, "ab": -5, "abc": -8}))
    assert len(tokenizer) == 265
    assert encode(tokenizer, ["ab", "abc", "b a", "", "aé"]) == [
        [260, 263],  # as good as a, b: the longest piece wins
        [260, 264],
        [260, 262, 260, 261],
        [],
        [260, 261, BYTE[0xC3], BYTE[0xA9]],
    ]


def test_golden_texts():
    tokenizer = SubwordTokenizer(make_model({"▁": -1, "▁a": -2, "b": -3}))
    space, a, b = 260, 261, 262
    ids = [
        [BEGIN_ID, a, b, END_ID, b, END_ID],
        [space, a, PADDING_ID, b, PADDING_ID, PADDING_ID],
        [b, a, UNKNOWN_ID, b, PADDING_ID, PADDING_ID],
        [BYTE[0xC3], BYTE[0xA9], space, BYTE[0xC3], b, BYTE[0xA9]],
        [END_ID, a, b, b, b, b],
    ]
    texts = ["ab", " ab", "b a ⁇ b", "é \ufffdb\ufffd", ""]
    assert decode(tokenizer, ids) == texts
    assert decode(tokenizer, tf.RaggedTensor.from_tensor(ids)) == texts
    assert decode(tokenizer, tf.zeros([0, 3], tf.int32)) == []
    assert decode(tokenizer, tf.zeros([2, 0], tf.int32)) == ["", ""]


def test_golden_pieces():
    tokenizer = SubwordTokenizer(make_model({"▁": -1, "▁a": -2}))
    names = ["<s>", "▁a", "<0x00>", "</s>", "<pad>"]
    ids = [BEGIN_ID, 261, BYTE[0], END_ID, PADDING_ID]
    assert [name.decode() for name in tokenizer.pieces(ids).numpy()] == names
    ragged = tokenizer.pieces(tf.ragged.constant([[260], [], ids[:2]]))
    assert ragged.to_list() == [["▁".encode()], [], [b"<s>", "▁a".encode()]]


def test_every_line_of_the_samples(tokenizer, processor):
    assert len(LINES) > 4000
    ids = encode(tokenizer, LINES)
    assert ids == processor.encode(LINES)
    assert decode(tokenizer, tf.ragged.constant(ids)) == LINES


@pytest.mark.parametrize("text", HARD_CASES)
def test_hard_case(tokenizer, processor, text):
    ids = encode(tokenizer, [text])
    assert ids == processor.encode([text])
    assert decode(tokenizer, tf.constant(ids, tf.int32, [1, len(ids[0])])) == [text]


@pytest.mark.parametrize("text", BAD_BYTES)
def test_bad_bytes(tokenizer, processor, text):
    ids = encode(tokenizer, [b"good", text, "文".encode()])
    assert ids == processor.encode([b"good", text, "文".encode()])
    assert decode(tokenizer, tf.ragged.constant(ids))[::2] == ["good", "文"]


def test_a_typed_boundary_comes_back_as_a_space(tokenizer, processor):
    ids = encode(tokenizer, ["▁a▁b", "a▁"])
    assert ids == processor.encode(["▁a▁b", "a▁"])
    assert decode(tokenizer, tf.ragged.constant(ids)) == [" a b", "a "]


@settings(max_examples=100)
@given(texts=st.lists(TEXTS, min_size=1, max_size=20))
def test_any_unicode(tokenizer, processor, texts):
    ids = tokenizer(tf.constant(texts))
    assert ids.to_list() == processor.encode(texts)
    assert decode(tokenizer, ids) == [text.replace("▁", " ") for text in texts]


@settings(max_examples=50)
@given(texts=st.lists(st.binary(max_size=12), min_size=1, max_size=20))
def test_any_bytes(tokenizer, processor, texts):
    assert encode(tokenizer, texts) == processor.encode(texts)


@settings(max_examples=100)
@given(
    rows=st.lists(
        st.lists(st.one_of(st.integers(4, 259), st.just(UNKNOWN_ID), st.integers(4, 2999))),
        min_size=1,
    )
)
def test_any_ids(tokenizer, processor, rows):
    texts = decode(tokenizer, tf.ragged.constant(rows, tf.int32, ragged_rank=1))
    # A "▁" that is spelled in bytes is the one difference: SentencePiece shows it.
    assert texts == [text.replace("▁", " ") for text in processor.decode(rows)]


@pytest.mark.parametrize("seed", range(3))
def test_sums_that_are_nearly_equal(seed):
    # The score of a piece is that of its letters, give or take two bits: rounding decides.
    draw = np.random.default_rng(seed)
    letters = dict(zip("▁abc", draw.uniform(-12, -0.5, 4).astype(np.float32), strict=True))
    scores = dict(letters)
    for length in (2, 3, 4):
        for piece in map("".join, itertools.product("abcd", repeat=length)):
            score = sum((letters.get(letter, np.float32(-22)) for letter in piece), np.float32(0))
            for _ in range(draw.integers(3)):
                score = np.nextafter(score, np.float32(draw.choice([0, -99])))
            if draw.random() < 0.5:
                scores[piece] = score
    model = make_model(scores)
    lengths = draw.integers(1, 60, 400)
    texts = ["".join(draw.choice(list("abcd"), n, p=[0.3, 0.3, 0.3, 0.1])) for n in lengths]
    ids = encode(SubwordTokenizer(model), texts)
    assert ids == sentencepiece.SentencePieceProcessor(model_proto=model).encode(texts)


def test_long_texts_among_short_ones(tokenizer, processor):
    long = "我们 are the champions，" * 5000
    texts = ["a", long, "", "b"]
    assert len(long) >= 90_000
    assert encode(tokenizer, texts) == processor.encode(texts)


def test_empty_batch(tokenizer):
    assert encode(tokenizer, []) == []
    assert encode(tokenizer, ["", ""]) == [[], []]


def test_eager_graph_and_pipeline_agree(tokenizer):
    expected = encode(tokenizer, HARD_CASES)
    assert encode(tf.function(lambda texts: tokenizer(texts)), HARD_CASES) == expected
    dataset = tf.data.Dataset.from_tensor_slices(HARD_CASES).batch(5).map(tokenizer)
    assert [row for batch in dataset for row in batch.to_list()] == expected
    there_and_back = tf.function(lambda texts: tokenizer.decode(tokenizer(texts)))
    assert [text.decode() for text in there_and_back(tf.constant(HARD_CASES)).numpy()] == HARD_CASES


class Exported(tf.Module):
    """Encodes, shows the pieces and decodes, as an exported model does."""

    def __init__(self, tokenizer: SubwordTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        ids = self.tokenizer(texts)
        return ids, self.tokenizer.pieces(ids).to_tensor(), self.tokenizer.decode(ids)


@pytest.fixture(scope="module")
def saved(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tf.saved_model.save(Exported(tokenizer), folder)
    return folder


def test_saved_and_loaded(tokenizer, saved):
    ids, pieces, texts = tf.saved_model.load(saved)(tf.constant(HARD_CASES))
    assert ids.to_list() == encode(tokenizer, HARD_CASES)
    assert pieces[2, 0].numpy().decode() == "▁"
    assert [text.decode() for text in texts.numpy()] == HARD_CASES


@pytest.mark.slow
def test_loads_with_tensorflow_alone(tokenizer, saved):
    code = (
        "import sys, tensorflow as tf\n"
        f"ids, _, texts = tf.saved_model.load({str(saved)!r})(tf.constant({HARD_CASES!r}))\n"
        "assert not {'sentencepiece', 'tfcamp', 'tensorflow_text'} & set(sys.modules)\n"
        f"assert [text.decode() for text in texts.numpy()] == {HARD_CASES!r}\n"
        "print(ids.to_list())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(encode(tokenizer, HARD_CASES))


def test_restored_from_a_file(tokenizer, tmp_path):
    (tmp_path / "subwords.model").write_bytes(tokenizer.model_proto)
    restored = SubwordTokenizer((tmp_path / "subwords.model").read_bytes())
    assert len(restored) == len(tokenizer) == 3000
    assert encode(restored, HARD_CASES) == encode(tokenizer, HARD_CASES)


def test_training_is_silent_and_repeatable(model, capfd):
    assert train_subwords(iter(LINES), vocabulary_size=3000) == model
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_training_in_another_process_gives_the_same_bytes(model, tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tfcamp.text.subword import train_subwords\n"
        "texts = Path(sys.argv[1]).read_text('utf-8').split('\\n')\n"
        "Path(sys.argv[2]).write_bytes(train_subwords(texts, vocabulary_size=3000))\n"
    )
    (tmp_path / "texts").write_text("\n".join(LINES), "utf-8")
    subprocess.run([sys.executable, "-c", code, tmp_path / "texts", tmp_path / "model"], check=True)
    assert (tmp_path / "model").read_bytes() == model


def test_ids_of_a_trained_model(processor):
    names = ("<pad>", "<unk>", "<s>", "</s>")
    assert [processor.piece_to_id(name) for name in names] == [
        PADDING_ID,
        UNKNOWN_ID,
        BEGIN_ID,
        END_ID,
    ]
    assert processor.piece_to_id("▁the") >= 260
    assert processor.piece_to_id("我") >= 260


def test_a_long_text_is_learnt_from():
    model = train_subwords(["never ever " * 2000], vocabulary_size=265)
    assert sentencepiece.SentencePieceProcessor(model_proto=model).piece_to_id("▁") >= 260


def test_the_largest_vocabulary_that_the_message_names_works():
    texts = LINES[:200]
    with pytest.raises(UserError, match=r"^--vocabulary-size 9000: these texts yield") as raised:
        train_subwords(texts, vocabulary_size=9000)
    largest = next(int(word) for word in str(raised.value).split()[2:] if word.isdigit())
    assert len(SubwordTokenizer(train_subwords(texts, vocabulary_size=largest))) == largest
    with pytest.raises(UserError, match=f"yield {largest} ids at most"):
        train_subwords(texts, vocabulary_size=largest + 1)
    fitting = train_subwords(texts, vocabulary_size=9000, exact=False)
    assert len(SubwordTokenizer(fitting)) == largest


def test_the_smallest_vocabulary_that_the_message_names_works():
    with pytest.raises(UserError, match=r"^--vocabulary-size 261: .* alone are 264 ids"):
        train_subwords(["abc"] * 9, vocabulary_size=261)
    train_subwords(["abc"] * 9, vocabulary_size=264)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "^subwords: there is no text to learn from$"),
        (["", ""], {}, "there is no text"),
        (["text"], {"vocabulary_size": 260}, "^--vocabulary-size 260: expected more than 260"),
        (["text"], {"character_coverage": 0.9}, "^--character-coverage 0.9: expected 0.98 to 1$"),
    ],
)
def test_what_cannot_be_trained(texts, options, message):
    with pytest.raises(UserError, match=message):
        train_subwords(texts, **options)


def test_an_error_of_the_rows_is_not_hidden():
    def rows():
        yield "a"
        raise UserError("train.tsv:2: bad row")

    with pytest.raises(UserError, match=r"train\.tsv:2"):
        train_subwords(rows())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"not a model", "no SentencePiece model"),
        (b"", "must be 0, 1, 2, 3, got"),
        (make_model({"▁": -1, "a": -2}, byte_fallback=0), "byte_fallback"),
        (make_model({"▁": -1, "a": -2}, dummy_prefix=0), "add_dummy_prefix"),
    ],
)
def test_models_of_other_settings_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        SubwordTokenizer(model)


def read_gzip(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().split("\n")


def read_columns(path: Path, columns: int) -> list[str]:
    lines = path.read_text("utf-8").split("\n")
    return [text for line in lines for text in line.split("\t")[:columns]]


CORPORA = {
    "multi30k": (("train", "val", "test_2016_flickr"), ("{}.de.gz", "{}.en.gz"), read_gzip),
    "captions_en_zh": (
        ("train", "val", "test"), ("{}.en", "{}.zh"), lambda path: read_columns(path, 1)
    ),
    "tatoeba_en_zh": (("train", "val", "test"), ("{}.tsv",), lambda path: read_columns(path, 2)),
    "thucnews": (("train", "dev", "test"), ("{}.txt",), lambda path: read_columns(path, 1)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("corpus", CORPORA)
def test_every_line_of_the_corpora(corpus, shared_data):
    splits, files, read = CORPORA[corpus]
    texts = [
        [text for file in files for text in read(shared_data / corpus / file.format(split)) if text]
        for split in splits
    ]
    model = train_subwords(texts[0], vocabulary_size=8000)
    tokenizer = SubwordTokenizer(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    lines = [line for split in texts for line in split]
    assert len(lines) > 45_000
    for begin in range(0, len(lines), 1024):
        batch = lines[begin : begin + 1024]
        ids = tokenizer(tf.constant(batch))
        assert ids.to_list() == processor.encode(batch, num_threads=1)
        assert decode(tokenizer, ids) == batch
