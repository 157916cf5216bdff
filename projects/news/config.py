"""The options of the news project: one field, one option of the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfcamp.errors import require


@dataclass(frozen=True)
class NewsConfig:
    """Options of ``train.py``; ``--help`` prints them from here."""

    # Data
    dataset: str = "sample"
    """sample (embedded), thucnews, tianchi_news, or the path of your own rows.
    Yours may be a .tsv, .csv or .jsonl, or a folder with train, dev and optionally test files."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each; looked up before any download."""
    max_tokens: int = 32
    """Tokens read of each text, the first ones; with word+char, each is a character."""
    tokens: Literal["word", "char", "word+char"] = "word+char"
    """What is read at each position: jieba's word, a character, or a character and its word."""
    ngrams: Literal[1, 2, 3] = 3
    """Longest run of characters that is embedded beside the character it begins with.
    Always 1 with --tokens word, --model fasttext or --no-train-embeddings."""
    stop_words: Path | None = None
    """File of words to leave out, one a line."""
    user_dictionary: Path | None = None
    """Further words for the segmenter, in jieba's format: word, frequency, tag."""
    vocabulary_size: int = 60_000
    """Largest number of ids for each kind of token (words, characters, runs of characters)."""
    min_count: int = 2
    """Tokens that occur fewer times than this in the training split count as unknown."""

    # Word vectors
    vectors: str = "skipgram"
    """skipgram or cbow (gensim trains them on the training split), none, or a file of vectors.
    The file is in word2vec or GloVe format."""
    vectors_loss: Literal["negative", "hierarchical"] = "negative"
    """What word2vec minimises: negative sampling or a hierarchical softmax."""
    vectors_epochs: int = 5
    """Passes of word2vec over the training split."""
    vectors_workers: int = 1
    """Threads of word2vec; with more than one, no two runs are the same."""
    train_embeddings: bool = True
    """Whether training goes on changing the word vectors."""

    # Model
    model: Literal[
        "bow", "fasttext", "textcnn", "bilstm", "bigru", "rnn_attention", "rcnn", "transformer"
    ] = "bilstm"
    """The network, built by tfcamp/models/text_classifier.py."""
    embedding_dim: int = 128
    """Width of each embedding."""
    width: int = 128
    """Units of an RNN in each direction, filters of each length, or width of the transformer."""
    num_layers: int | None = None
    """Layers of an RNN (1 if not given) or of the transformer (2 if not given)."""
    num_buckets: int = 100_000
    """Rows of fasttext's table of hashed n-grams."""
    combine: Literal["sum", "concat"] = "sum"
    """How the embeddings at a position become one: added up, or set side by side."""
    dropout: float = 0.5
    """Share of the features dropped before the classifier."""
    token_dropout: float = 0.2
    """Share of the tokens that each training step hides from the model."""
    spatial_dropout: float = 0.2
    """Share of the embedding's channels dropped, each from the whole text."""

    # Loss
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """What is minimised; focal gives rows that are already right less weight."""
    label_smoothing: float = 0.1
    """Share of the label's probability spread over all classes."""
    focal_gamma: float = 2.0
    """Focusing exponent of the focal loss."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced weighs each class by the inverse of its frequency."""

    # Training
    epochs: int | None = None
    """Passes over the training split; if not given, 4, or 40 where it has under 10,000 rows."""
    max_steps: int | None = None
    """Training ends after so many steps, if that is earlier."""
    batch_size: int | None = None
    """Rows of a batch; if not given, 256, or 16 for a training split of under 10,000 rows."""
    learning_rate: float = 3e-3
    """The largest learning rate, reached at the end of the warm-up."""
    schedule: Literal["constant", "cosine", "inverse_sqrt"] = "cosine"
    """After the warm-up, cosine falls to 0 at the last step, inverse_sqrt like 1 / sqrt(step).
    constant neither rises nor falls."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = 0.0
    """Decoupled weight decay of all weights but embeddings, biases and norms."""
    clip_norm: float | None = 1.0
    """Largest global norm of the gradient; None for no limit."""
    average_decay: float = 0.0
    """Decay of the moving average of the weights that is evaluated and exported, 0.999 say.
    0 takes the weights as they are."""
    adversarial_norm: float = 0.0
    """How far a row's embeddings are pushed against the model in a second pass of each step.
    It takes as long as the first pass (Miyato et al., 2017); 0 leaves it out."""
    optimizer: Literal["row_sparse_adam", "adam"] = "row_sparse_adam"
    """Adam that updates only the embedding rows a batch uses, or Keras's own Adam."""
    patience: int = 5
    """Epochs without a better dev score after which training stops."""
    stop_on: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    """The dev score by which the best model is chosen."""
    seed: int = 0
    """Seed of the weights, the dropout, the order of the data and the word vectors."""

    # Machine
    strategy: Literal["auto", "one", "mirrored", "multi_worker", "tpu"] = "auto"
    """Where training runs: one device, all GPUs, several machines or a TPU; auto looks around."""
    virtual_devices: int | None = None
    """Rehearses mirrored training with so many replicas on one CPU."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the computation; the weights stay float32."""
    accumulate: int = 1
    """Parts in which each replica takes its rows of a batch: the same step in less memory."""
    jit_compile: bool = False
    """Whether XLA compiles forward and backward; all batches then have one shape."""
    steps_per_call: int | None = None
    """Steps in each call of the compiled loop; as many as take a second if not given.
    Progress and Ctrl-C wait for the end of a call. Several workers take one step a call."""
    save_seconds: float = 60.0
    """Seconds between two checkpoints within an epoch; 0 for one after each call."""
    run_dir: Path | None = None
    """The run folder; runs/news/<date-time> if not given. An unfinished run in it goes on."""
    export_dir: Path | None = None
    """Where the SavedModel goes, on a disk; RUN/saved_model if not given."""

    def __post_init__(self) -> None:
        """Refuses values that cannot work.

        Raises:
          UserError: one line that names the option.
        """
        at_least_one = ("epochs", "max_steps", "batch_size", "max_tokens", "min_count", "patience")
        at_least_one += ("width", "embedding_dim", "num_layers", "num_buckets", "steps_per_call")
        at_least_one += ("virtual_devices", "accumulate")
        for name in (*at_least_one, "vectors_epochs", "vectors_workers"):
            value = getattr(self, name)
            require(self, name, value is None or value >= 1, "at least 1")
        require(self, "seed", 0 <= self.seed < 2**32, "at least 0 and below 2**32")
        fits = self.model != "transformer" or self.width % 4 == 0
        require(self, "width", fits, "a multiple of 4, because the transformer has 4 heads")
        require(self, "vocabulary_size", self.vocabulary_size >= 3, "at least 3")
        has_words = self.tokens != "char" or self.user_dictionary is None
        require(self, "user_dictionary", has_words, "--tokens word or word+char beside it")
        given = self.train_embeddings or self.vectors != "none"
        require(self, "train_embeddings", given, "True where --vectors is none")
        require(self, "learning_rate", self.learning_rate > 0, "a number above 0")
        require(self, "focal_gamma", self.focal_gamma >= 0, "at least 0")
        require(self, "adversarial_norm", self.adversarial_norm >= 0, "at least 0")
        moves = self.train_embeddings or not self.adversarial_norm
        require(self, "adversarial_norm", moves, "0 with --no-train-embeddings: nothing is moved")
        require(self, "save_seconds", self.save_seconds >= 0, "at least 0")
        require(self, "weight_decay", self.weight_decay >= 0, "at least 0")
        require(self, "clip_norm", self.clip_norm is None or self.clip_norm > 0, "a number above 0")
        for name in (
            "dropout",
            "token_dropout",
            "spatial_dropout",
            "label_smoothing",
            "warmup",
            "average_decay",
        ):
            require(self, name, 0 <= getattr(self, name) < 1, "a number in [0, 1)")

    def epochs_and_batch_size(self, num_rows: int) -> tuple[int, int]:
        """Returns both, filled in by the number of training rows where they were not given."""
        small = num_rows < 10_000
        return self.epochs or (40 if small else 4), self.batch_size or (16 if small else 256)


# What a run that goes on may change: more of it, and how fast it is computed.
MAY_DIFFER = ("epochs", "max_steps", "steps_per_call", "save_seconds", "patience")
