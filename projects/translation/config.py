"""The options of the translation project: one field, one option of the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfcamp.errors import require

# A training split of fewer pairs than this is learnt in many passes with few subwords.
SMALL_DATA = 10_000


@dataclass(frozen=True)
class TranslationConfig:
    """Options of ``train.py``; ``--help`` prints them from here."""

    # Data
    dataset: str = "sample"
    """sample (English and Chinese, embedded), reverse (synthetic), multi30k, or tatoeba.
    Or a translation set of TFDS, ted_hrlr_translate/pt_to_en say, or the path of your own pairs."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each; looked up before any download."""
    source: str | None = None
    """Language to translate from, en say; the data set's own first language if not given."""
    target: str | None = None
    """Language to translate into, zh say; the data set's own second language if not given."""
    max_tokens: int = 64
    """Longest sentence in subwords, its end included.
    Training leaves out longer ones; a trained model cuts them."""
    max_ratio: float = 4.0
    """Training leaves out pairs of which one side has more than so many times the other's tokens.
    Both sides count a little more than they have, so that short ones stay."""

    # Subwords
    vocabulary_size: int | None = None
    """Number of subwords; if not given, 8,000, or 2,000 with under 10,000 training pairs.
    There are fewer where the pairs do not yield so many."""
    joint_vocabulary: bool = True
    """Whether both languages share their subwords; names and digits are then copied easily."""
    character_coverage: float = 0.9999
    """Share of all characters that have a piece of their own; others are spelt in bytes."""

    # Model
    model: Literal["transformer", "seq2seq"] = "transformer"
    """transformer (Vaswani et al., 2017), or two recurrent networks: an encoder and a decoder."""
    size: Literal["tiny", "small", "base", "big"] = "tiny"
    """Size of the model; base and big are the paper's.
    --width, --num-layers, --num-heads and --inner-width change single parts of it."""
    width: int | None = None
    """Width of embeddings and layers; that of --size if not given."""
    num_layers: int | None = None
    """Layers of the encoder, and of the decoder.
    If not given, those of --size, or 1 with seq2seq; 2 of reverse."""
    num_heads: int | None = None
    """Heads of the transformer's attention; those of --size if not given."""
    inner_width: int | None = None
    """Width between the dense layers of a transformer's block; that of --size if not given."""
    norm: Literal["pre", "post"] = "pre"
    """Whether the transformer normalises before each sublayer, or after it as the paper does."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """How the transformer knows where a token stands."""
    tie_embeddings: Literal["none", "target", "all"] | None = None
    """Which tables are one: target's input and output, all three, or none.
    If not given, all with a joint vocabulary, and target without."""
    cell: Literal["gru", "lstm"] = "gru"
    """The recurrent cell of seq2seq."""
    attention: Literal["none", "additive", "dot"] = "additive"
    """How seq2seq's decoder looks back: not at all, Bahdanau's way or Luong's."""
    dropout: float | None = None
    """Share dropped at every site of the paper.
    If not given, 0.2; 0.15 with under 10,000 pairs, 0.1 with over 100,000, 0 of reverse."""

    # Training
    epochs: int | None = None
    """Passes over the training split.
    If not given, 30, or 10 of reverse."""
    max_steps: int | None = None
    """Training ends after so many steps, if that is earlier."""
    batch_tokens: int | None = None
    """Tokens of a batch on the longer side, padding included.
    If not given, 2,048, or 1,024 with under 10,000 pairs."""
    learning_rate: float | None = None
    """The largest learning rate, reached at the end of the warm-up.
    If not given, 4e-3; 2e-3 with under 10,000 pairs or over 100,000, and of reverse."""
    schedule: Literal["constant", "cosine", "inverse_sqrt"] = "inverse_sqrt"
    """After the warm-up, inverse_sqrt falls like 1 / sqrt(step), cosine to 0 at the last step.
    constant neither rises nor falls."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    label_smoothing: float = 0.1
    """Share of a token's probability spread over the whole vocabulary."""
    weight_decay: float = 0.0
    """Decoupled weight decay of all weights but embeddings, biases and norms."""
    clip_norm: float | None = 1.0
    """Largest global norm of the gradient; None for no limit."""
    average_decay: float = 0.998
    """Decay of the moving average of the weights that is evaluated and exported.
    0 takes the weights as they are."""
    patience: int = 20
    """Epochs without a better dev score after which training stops."""
    stop_on: Literal["bleu", "loss"] = "bleu"
    """The dev score by which the best model is chosen; bleu is that of greedy decoding."""
    length_penalty: float = 1.0
    """Exponent by which a longer translation's log-probability is forgiven in beam search."""
    seed: int = 0
    """Seed of the weights, the dropout and the order of the data."""

    # Machine
    strategy: Literal["auto", "one", "mirrored", "multi_worker", "tpu"] = "auto"
    """Where training runs: one device, all GPUs, several machines or a TPU; auto looks around."""
    virtual_devices: int | None = None
    """Rehearses mirrored training with so many replicas on one CPU."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the computation; the weights stay float32.
    auto takes bfloat16 on TPUs and on CPUs with instructions for it, else float32."""
    accumulate: int = 1
    """Parts in which each replica takes its rows of a batch: the same step in less memory."""
    jit_compile: bool = False
    """Whether XLA compiles forward and backward; it takes each shape of a batch anew."""
    steps_per_call: int | None = None
    """Steps in each call of the compiled loop; as many as take a second if not given.
    Progress and Ctrl-C wait for the end of a call."""
    save_seconds: float = 60.0
    """Seconds between two checkpoints within an epoch; 0 for one after each call."""
    run_dir: Path | None = None
    """The run folder; runs/translation/<date-time> if not given. An unfinished run goes on."""
    export_dir: Path | None = None
    """Where the SavedModel goes; RUN/saved_model if not given."""

    def __post_init__(self) -> None:
        """Refuses values that cannot work.

        Raises:
          UserError: one line that names the option.
        """
        at_least_one = ("epochs", "max_steps", "width", "num_layers", "num_heads", "inner_width")
        at_least_one += ("patience", "virtual_devices", "accumulate", "steps_per_call")
        for name in at_least_one:
            value = getattr(self, name)
            require(self, name, value is None or value >= 1, "at least 1")
        require(self, "max_tokens", self.max_tokens >= 2, "at least 2, one token and the end")
        fits = self.batch_tokens is None or self.batch_tokens >= self.max_tokens
        require(self, "batch_tokens", fits, f"at least --max-tokens {self.max_tokens}")
        require(self, "max_ratio", self.max_ratio >= 1, "at least 1")
        size = self.vocabulary_size
        require(self, "vocabulary_size", size is None or size >= 300, "at least 300, for all bytes")
        require(self, "seed", 0 <= self.seed < 2**32, "at least 0 and below 2**32")
        for name in ("weight_decay", "save_seconds", "length_penalty"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            require(self, name, value is None or value > 0, "a number above 0")
        for name in ("dropout", "label_smoothing", "warmup", "average_decay"):
            value = getattr(self, name)
            require(self, name, value is None or 0 <= value < 1, "a number in [0, 1)")
        covered = 0.98 <= self.character_coverage <= 1
        require(self, "character_coverage", covered, "a number in [0.98, 1]")
        shared = self.tie_embeddings != "all" or self.joint_vocabulary
        require(self, "tie_embeddings", shared, "none or target without --joint-vocabulary")

    def for_pairs(self, num_pairs: int) -> "SizedOptions":
        """Returns the options that depend on the size of the training split."""
        small = num_pairs < SMALL_DATA
        if self.dataset == "reverse":
            epochs, dropout, learning_rate = 10, 0.0, 2e-3
        elif small:
            epochs, dropout, learning_rate = 30, 0.15, 2e-3
        elif num_pairs <= 100_000:
            epochs, dropout, learning_rate = 30, 0.2, 4e-3
        else:
            epochs, dropout, learning_rate = 30, 0.1, 2e-3
        return SizedOptions(
            epochs=self.epochs or epochs,
            batch_tokens=self.batch_tokens or (1_024 if small else 2_048),
            vocabulary_size=self.vocabulary_size or (2_000 if small else 8_000),
            dropout=dropout if self.dropout is None else self.dropout,
            learning_rate=self.learning_rate or learning_rate,
            num_layers=self.num_layers or (2 if self.dataset == "reverse" else None),
        )


@dataclass(frozen=True)
class SizedOptions:
    """What a config says of a training split of a known size; see `TranslationConfig`."""

    epochs: int
    batch_tokens: int
    vocabulary_size: int
    dropout: float
    learning_rate: float
    num_layers: int | None


# What a run that goes on may change: more of it, and how fast it is computed.
MAY_DIFFER = ("epochs", "max_steps", "steps_per_call", "save_seconds", "patience")
