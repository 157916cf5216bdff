"""The options of the street-view project: one field, one option of the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tfcamp.data.image_sources import DRAWN_DATASETS
from tfcamp.errors import require

_Reader = Literal["multihead", "ctc"]
_Trunk = Literal["lenet5", "alexnet", "vgg", "nin", "googlenet", "resnet", "densenet", "mobilenet"]
_Pretrained = Literal["mobilenet_v2", "resnet50_v2", "efficientnet_v2_b0"]
# Models that read whole numbers; all others read one digit.
READERS = get_args(_Reader)
# Trunks for which Keras has weights.
PRETRAINED = get_args(_Pretrained)


@dataclass(frozen=True)
class StreetConfig:
    """Options of ``train.py``; ``--help`` prints them from here."""

    # Data
    dataset: str = "sample"
    """sample (drawn here), drawings (harder), svhn_cropped, svhn_full, svhn_full/extra, or a path.
    A folder may be in the competition's layout, hold crops (.npz), or images and a labels.csv."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each; looked up before any download."""
    train_rows: int | None = None
    """Training rows to use, the first ones; if not given, all, or 10,000 drawings."""
    add_drawings: int = 0
    """Drawn numbers that are added to the training split."""
    use_boxes: bool = False
    """Whether dev and test pictures, too, are cut down to the number by the boxes of its digits.
    Without it the whole picture is read, as at the competition."""
    margin: float = 0.3
    """How much of a picture training may show around a number, as a share of its height."""
    margin_cut: float = 0.3
    """How much of each margin is cut away at random, as a share: up to so much.
    At 1 the number may fill its picture, at 0 all of the margin is always seen."""

    # Augmentation: how far each training image is changed; 0 leaves a change out
    augmentation: float | None = None
    """Factor on all changes from --shift to --noise; if not given, 1, or 0.3 for drawings.
    No two drawings are alike anyway."""
    shift: float = 0.05
    """Largest shift, as a share of the side."""
    scale: float = 0.15
    """Largest change of size, and of the width alone."""
    rotation: float = 8.0
    """Largest turn in degrees, up to 45."""
    shear: float = 0.15
    """Largest slant, in pixels across for a pixel down."""
    perspective: float = 0.05
    """Largest difference in size between opposite sides, as a share."""
    contrast: float = 0.4
    """Largest change of contrast; brightness changes by up to 0.4 times that."""
    colour: float = 0.2
    """How far red, green and blue are mixed and tinted."""
    inversion: float = 0.1
    """Share of the images in which light and dark change places."""
    blur: float = 0.5
    """Largest standard deviation of the blur in pixels, up to 3."""
    noise: float = 0.02
    """Largest standard deviation of the noise; white is 1."""
    cutout: float = 0.0
    """Largest side of a rectangle that hides a part of every third image, as a share."""
    mixup: float = 0.0
    """Alpha of mixup, 0.2 say, for models of one digit: pairs of images are blended."""
    cutmix: float = 0.0
    """Alpha of cutmix, 1 say, for models of one digit: parts of images change places."""

    # Model
    model: Literal[_Reader, "mlp", _Trunk] = "multihead"
    """multihead and ctc read whole numbers; the others one digit, which is cut out of numbers."""
    trunk: Literal[_Trunk, _Pretrained] = "resnet"
    """The network below multihead and ctc.
    The last three are of keras.applications, as they are: no --width-multiplier, no --depth."""
    image_height: int | None = None
    """Height of what the model sees in pixels; if not given, 48, or 32 of a single digit."""
    image_width: int | None = None
    """Width of what the model sees in pixels; if not given, 96, or 32 of a single digit."""
    width_multiplier: float = 0.5
    """Factor on the number of channels everywhere."""
    depth: int | None = None
    """Layers or blocks in each stage; the builder's own number if not given."""
    activation: Literal["relu", "swish", "mish"] = "relu"
    """The non-linear function between layers."""
    head_width: int = 128
    """Units of the layers between the trunk and the answer of multihead and ctc."""
    dropout: float = 0.1
    """Share of the features dropped before each layer of the head."""
    drop_block: float = 0.0
    """Share of the trunk's last maps that is dropped in blocks."""

    # Fine-tuning
    init_from: Path | None = None
    """Run folder whose best weights this run begins with, where names and shapes agree.
    Or imagenet: the weights that Keras downloads for a --trunk of keras.applications."""
    freeze_trunk: bool = False
    """Whether the trunk stays as --init-from left it."""
    trunk_learning_rate: float = 1.0
    """Learning rate of the trunk as a share of the head's, 0.1 say for fine-tuning."""

    # Loss
    label_smoothing: float = 0.0
    """Share of a label's probability spread over all classes; not for ctc."""
    focal_gamma: float = 0.0
    """Focusing exponent of the focal loss, 2 say; 0 is plain cross-entropy. Not for ctc."""

    # Training
    epochs: int | None = None
    """Passes over the training split; if not given, 6 of drawings, else 30."""
    max_steps: int | None = None
    """Training ends after so many steps, if that is earlier."""
    batch_size: int = 32
    """Images of a batch, of all replicas together."""
    learning_rate: float = 2e-3
    """The largest learning rate, reached at the end of the warm-up."""
    schedule: Literal["constant", "cosine", "inverse_sqrt"] = "cosine"
    """After the warm-up, cosine falls to 0 at the last step, inverse_sqrt like 1 / sqrt(step).
    constant neither rises nor falls."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = 0.01
    """Decoupled weight decay of all weights but biases and norms."""
    clip_norm: float | None = 5.0
    """Largest global norm of the gradient; None for no limit."""
    average_decay: float = 0.0
    """Decay of the moving average of the weights that is evaluated and exported, 0.999 say.
    0 takes the weights as they are."""
    patience: int = 10
    """Epochs without a better dev score after which training stops."""
    stop_on: Literal["accuracy", "digit_accuracy", "loss"] = "accuracy"
    """The dev score by which the best model is chosen; accuracy is that of whole numbers."""
    seed: int = 0
    """Seed of the weights, the dropout, the augmentation and the order of the data."""

    # Machine
    strategy: Literal["auto", "one", "mirrored", "multi_worker", "tpu"] = "auto"
    """Where training runs: one device, all GPUs, several machines or a TPU; auto looks around."""
    virtual_devices: int | None = None
    """Rehearses mirrored training with so many replicas on one CPU."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the computation; the weights stay float32.
    auto takes bfloat16 on TPUs and on CPUs with instructions for it, else float32."""
    accumulate: int = 1
    """Parts in which each replica takes its rows of a batch, which takes less memory.
    Batch normalisation then sees one part at a time."""
    jit_compile: bool = False
    """Whether XLA compiles forward and backward."""
    steps_per_call: int | None = None
    """Steps in each call of the compiled loop; as many as take a second if not given.
    Progress and Ctrl-C wait for the end of a call."""
    save_seconds: float = 60.0
    """Seconds between two checkpoints within an epoch; 0 for one after each call."""
    run_dir: Path | None = None
    """The run folder; runs/street_view/<date-time> if not given. An unfinished run goes on."""
    export_dir: Path | None = None
    """Where the SavedModel goes; RUN/saved_model if not given."""

    def __post_init__(self) -> None:
        """Refuses values that cannot work.

        Raises:
          UserError: one line that names the option.
        """
        at_least_one = ("epochs", "max_steps", "batch_size", "train_rows", "depth", "head_width")
        at_least_one += ("patience", "virtual_devices", "accumulate", "steps_per_call")
        for name in at_least_one:
            value = getattr(self, name)
            require(self, name, value is None or value >= 1, "at least 1")
        require(self, "seed", 0 <= self.seed < 2**32, "at least 0 and below 2**32")
        strength = self.augmentation
        require(self, "augmentation", strength is None or 0 <= strength <= 1, "between 0 and 1")
        for name in ("add_drawings", "margin", "weight_decay", "focal_gamma", "save_seconds"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("learning_rate", "width_multiplier"):
            require(self, name, getattr(self, name) > 0, "a number above 0")
        require(self, "clip_norm", self.clip_norm is None or self.clip_norm > 0, "a number above 0")
        for name in ("dropout", "drop_block", "label_smoothing", "warmup", "average_decay"):
            require(self, name, 0 <= getattr(self, name) < 1, "a number in [0, 1)")
        for name in ("image_height", "image_width"):
            value = getattr(self, name)
            require(self, name, value is None or value >= 16, "at least 16 pixels")
        limits = {"shift": 0.5, "rotation": 45, "shear": 1, "perspective": 0.5, "inversion": 1}
        limits |= {
            "blur": 3,
            "cutout": 1,
            "margin_cut": 1,
            "scale": 10,
            "contrast": 10,
            "colour": 1,
            "noise": 1,
        }
        for name, limit in limits.items():
            require(self, name, 0 <= getattr(self, name) <= limit, f"between 0 and {limit}")
        for name in ("mixup", "cutmix"):
            alpha = getattr(self, name)
            require(self, name, alpha == 0 or alpha >= 0.05, "0, or at least 0.05")
            one_digit = "0, because the labels of whole numbers do not mix"
            require(self, name, alpha == 0 or not self.reads_numbers, one_digit)
        whole = "0 with a model of one digit, because whole numbers are drawn"
        require(self, "add_drawings", self.add_drawings == 0 or self.reads_numbers, whole)
        for name in ("label_smoothing", "focal_gamma"):
            fits = self.model != "ctc" or getattr(self, name) == 0
            require(self, name, fits, "0 with --model ctc")
        known = not self.from_imagenet or (self.reads_numbers and self.trunk in PRETRAINED)
        trunks = f"{', '.join(PRETRAINED[:-1])} or {PRETRAINED[-1]}"
        require(self, "init_from", known, f"a run folder, or a --trunk {trunks} beside it")
        if self.reads_numbers and self.trunk in PRETRAINED:
            for name, given in (("width_multiplier", 0.5), ("depth", None)):
                fits = getattr(self, name) == given
                require(self, name, fits, f"{given} with --trunk {self.trunk}, which has its own")
        has_weights = not self.freeze_trunk or self.init_from is not None
        require(
            self, "freeze_trunk", has_weights, "--init-from beside it, for a trunk that can see"
        )
        for name, given in (("freeze_trunk", False), ("trunk_learning_rate", 1.0)):
            fits = self.model != "mlp" or getattr(self, name) == given
            require(self, name, fits, f"{given} with --model mlp, which has no trunk")
        in_range = 0 < self.trunk_learning_rate <= 1
        require(self, "trunk_learning_rate", in_range, "above 0 and at most 1; or --freeze-trunk")

    @property
    def reads_numbers(self) -> bool:
        """Whether the model reads whole numbers."""
        return self.model in READERS

    @property
    def from_imagenet(self) -> bool:
        """Whether the trunk begins with Keras's weights."""
        return str(self.init_from) == "imagenet"

    @property
    def num_epochs(self) -> int:
        """Passes over the training split."""
        return self.epochs or (6 if self.dataset in DRAWN_DATASETS else 30)

    @property
    def augmentation_strength(self) -> float:
        """The factor on all changes of the training images."""
        if self.augmentation is not None:
            return self.augmentation
        return 0.3 if self.dataset in DRAWN_DATASETS else 1.0

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that the model sees."""
        height, width = (48, 96) if self.reads_numbers else (32, 32)
        return self.image_height or height, self.image_width or width


# What a run that goes on may change: more of it, and how fast it is computed.
MAY_DIFFER = ("epochs", "max_steps", "steps_per_call", "save_seconds", "patience")
