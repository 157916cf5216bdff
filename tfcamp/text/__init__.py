"""From raw text to ids: segmentation, vocabulary, encoding and word vectors."""

from tfcamp.text.chinese import CharacterSplitter, ChineseSegmenter, WhitespaceSplitter
from tfcamp.text.corpus import TokenCorpus
from tfcamp.text.encoder import TextEncoder, TextTokenizer
from tfcamp.text.vector_files import load_word_vectors
from tfcamp.text.viterbi import ViterbiSegmenter
from tfcamp.text.vocabulary import Vocabulary
from tfcamp.text.word2vec import train_word_vectors
from tfcamp.text.word_vectors import Coverage, WordVectors

__all__ = [
    "CharacterSplitter",
    "ChineseSegmenter",
    "Coverage",
    "TextEncoder",
    "TextTokenizer",
    "TokenCorpus",
    "ViterbiSegmenter",
    "Vocabulary",
    "WhitespaceSplitter",
    "WordVectors",
    "load_word_vectors",
    "train_word_vectors",
]
