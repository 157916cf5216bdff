"""What image models are built from: their sizes, their input, and the blocks that they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """The part of an image model from pixels to feature maps.

    Attributes:
      height: of the image, in pixels, H.
      width: of the image, in pixels, W.
      width_multiplier: factor on the number of channels everywhere.
      depth: layers or blocks in each stage; None for the builder's own number.
      activation: "relu", "swish" (Ramachandran et al., 2017) or "mish" (Misra, 2019).
      drop_block: share of the last two stages' maps that is dropped in training; 0 for none.
      block_size: side of the dropped blocks, in positions of the map.
      stem_stride: stride of the first layer; None for 1 up to 40 pixels of height and 2 above.
      max_width_stride: how many times narrower than the image the maps may become; None for as
        many times as they become lower. A reader that goes through the columns needs enough of
        them.
    """

    height: int = 32
    width: int = 32
    width_multiplier: float = 1.0
    depth: int | None = None
    activation: Literal["relu", "swish", "mish"] = "relu"
    drop_block: float = 0.0
    block_size: int = 3
    stem_stride: int | None = None
    max_width_stride: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where a model would fail late or silently."""
        for name in ("height", "width"):
            if getattr(self, name) < 16:
                raise ValueError(f"{name} must be at least 16 pixels, got {getattr(self, name)}")
        for name in ("depth", "block_size", "stem_stride", "max_width_stride"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width_multiplier <= 0:
            raise ValueError(f"width_multiplier must be positive, got {self.width_multiplier}")
        if self.activation not in ("relu", "swish", "mish"):
            raise ValueError(
                f"activation must be 'relu', 'swish' or 'mish', got {self.activation!r}"
            )
        if not 0.0 <= self.drop_block < 1.0:
            raise ValueError(f"drop_block must be in [0, 1), got {self.drop_block}")

    @property
    def stem(self) -> int:
        """The stride of the first layer."""
        return self.stem_stride or (1 if self.height <= 40 else 2)

    def channels(self, number: int) -> int:
        """Returns a number of channels times the width multiplier, as a multiple of four."""
        return max(4, 4 * round(number * self.width_multiplier / 4))

    def strides(self, stage: int) -> tuple[int, int]:
        """Returns the strides, down and across, with which the stage 0, 1, 2 ... begins.

        Stage 0 begins with the stem's stride, each further one halves the maps. What would make
        them narrower than `max_width_stride` allows leaves the width as it is.
        """
        down = self.stem if stage == 0 else 2
        so_far = self.stem * 2**stage
        narrowed_enough = self.max_width_stride is not None and so_far > self.max_width_stride
        return (down, 1 if narrowed_enough else down)


@dataclass(frozen=True, kw_only=True)
class ImageClassifierConfig(TrunkConfig):
    """What an image classifier is built from; see `TrunkConfig` for the rest.

    Attributes:
      num_classes: number of classes, C.
      dropout: share dropped before each layer of the classifier's head.
    """

    num_classes: int
    dropout: float = 0.3

    def __post_init__(self) -> None:
        """Raises ValueError where a model would fail late or silently."""
        super().__post_init__()
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


def image_input(config: TrunkConfig) -> tuple[Any, Any]:
    """Returns the model's input, float[B, H, W, 3] in [0, 1], and the same scaled to [-2, 2].

    Photographs have a mean near 0.5 and a standard deviation near 0.25, so about 0 and 1 come out.
    """
    image = keras.Input((config.height, config.width, 3), name="image")
    return image, keras.layers.Rescaling(4.0, offset=-2.0, name="scaled")(image)


def convolution(filters: int, size: int, **options: Any) -> keras.layers.Conv2D:
    """Returns a convolution that keeps the map's size, with the weights of He et al. (2015)."""
    options = {"padding": "same", "kernel_initializer": "he_normal", **options}
    return keras.layers.Conv2D(filters, size, **options)


def batch_norm(name: str) -> keras.layers.BatchNormalization:
    """Returns batch normalisation (Ioffe and Szegedy, 2015) over the batch of all replicas.

    Synchronised, two replicas equal one device, and on one device it costs nothing. With the
    momentum 0.9 the running statistics follow the weights within some tens of steps; Keras's 0.99
    lags behind in short trainings.
    """
    return keras.layers.BatchNormalization(momentum=0.9, synchronized=True, name=name)


def conv_block(
    x: Any,
    filters: int,
    size: int = 3,
    *,
    activation: str | None,
    name: str,
    strides: int | tuple[int, int] = 1,
) -> Any:
    """Adds convolution, batch normalisation and activation (None for none)."""
    x = convolution(filters, size, strides=strides, use_bias=False, name=f"{name}_conv")(x)
    x = batch_norm(f"{name}_norm")(x)
    return x if activation is None else keras.layers.Activation(activation, name=name)(x)


def residual_block(
    x: Any, filters: int, *, strides: tuple[int, int], activation: str, name: str
) -> Any:
    """Adds the basic block of He et al. (2016), fig. 2: activation(x + F(x)), F two convolutions.

    Where the shape changes, the shortcut is average pooling and a 1x1 convolution (He et al., 2019,
    fig. 2c). A 1x1 convolution with strides, as in the first paper, skips three of four inputs; and
    on a CPU its gradient writes beyond its memory at some batch sizes (TensorFlow 2.21, oneDNN).
    """
    branch = conv_block(x, filters, strides=strides, activation=activation, name=f"{name}_1")
    branch = conv_block(branch, filters, activation=None, name=f"{name}_2")
    if strides != (1, 1):
        pool = keras.layers.AveragePooling2D(strides, padding="same", name=f"{name}_pool")
        x = pool(x)
    if x.shape[-1] != filters:
        x = conv_block(x, filters, 1, activation=None, name=f"{name}_shortcut")
    x = keras.layers.Add(name=f"{name}_sum")([x, branch])
    return keras.layers.Activation(activation, name=name)(x)


def inception_block(x: Any, filters: int, *, activation: str, name: str) -> Any:
    """Adds an inception module (Szegedy et al., 2015, fig. 2b), with about ``filters`` channels.

    1x1, 3x3, 5x5 and pooling get 1/4, 1/2, 1/8 and 1/8 of the channels, and the reductions before
    3x3 and 5x5 have 3/8 and 1/16: the proportions of the paper's first module.
    """

    def part(x: Any, share: float, size: int, branch: str) -> Any:
        width = max(1, round(filters * share))
        return conv_block(x, width, size, activation=activation, name=f"{name}_{branch}")

    pooled = keras.layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    branches = [
        part(x, 1 / 4, 1, "1x1"),
        part(part(x, 3 / 8, 1, "3x3_reduce"), 1 / 2, 3, "3x3"),
        part(part(x, 1 / 16, 1, "5x5_reduce"), 1 / 8, 5, "5x5"),
        part(pooled, 1 / 8, 1, "pool_projection"),
    ]
    return keras.layers.Concatenate(name=name)(branches)


def dense_block(x: Any, growth: int, depth: int, *, activation: str, name: str) -> Any:
    """Adds a dense block (Huang et al., 2017, eq. 2): each layer reads all that came before it."""
    for i in range(depth):
        new = batch_norm(f"{name}_{i}_norm")(x)
        new = keras.layers.Activation(activation, name=f"{name}_{i}_active")(new)
        new = convolution(growth, 3, use_bias=False, name=f"{name}_{i}_conv")(new)
        x = keras.layers.Concatenate(name=f"{name}_{i}")([x, new])
    return x


def inverted_residual_block(
    x: Any,
    filters: int,
    *,
    strides: tuple[int, int],
    activation: str,
    name: str,
    expansion: int = 6,
) -> Any:
    """Adds the block of MobileNetV2 (Sandler et al., 2018, table 1): widen, depthwise 3x3, project.

    The projection has no activation; input and output are added up where their shapes agree.
    """
    wide = conv_block(x, expansion * x.shape[-1], 1, activation=activation, name=f"{name}_expand")
    if strides[0] != strides[1]:
        # TensorFlow's depthwise kernels want equal strides: what is left out here is left out.
        wide = keras.layers.MaxPooling2D(strides, padding="same", name=f"{name}_pool")(wide)
        strides = (1, 1)
    wide = keras.layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise_conv",
    )(wide)
    wide = batch_norm(f"{name}_depthwise_norm")(wide)
    wide = keras.layers.Activation(activation, name=f"{name}_depthwise")(wide)
    projected = conv_block(wide, filters, 1, activation=None, name=f"{name}_project")
    if projected.shape != x.shape:
        return projected
    return keras.layers.Add(name=name)([x, projected])


def max_pool(x: Any, strides: tuple[int, int], name: str, size: int | None = None) -> Any:
    """Adds maximum pooling over windows of ``size``, or of the strides."""
    pool = keras.layers.MaxPooling2D(size or strides, strides, padding="same", name=name)
    return pool(x)


def drop_block(config: TrunkConfig, name: str) -> Callable[[Any], Any]:
    """Returns the config's `DropBlock`, the identity outside training."""
    return DropBlock(config.drop_block, config.block_size, name=name)


@keras.saving.register_keras_serializable(package="tfcamp")
class DropBlock(keras.layers.Layer):
    """Drops blocks of neighbouring activations in training (Ghiasi et al., 2018, algorithm 1).

    Neighbours in a map say nearly the same, so dropping single ones hides nothing. Each position
    whose block lies in the map is a block's corner with the probability gamma,

        gamma = rate / block_size^2 * H W / ((H - block_size + 1) (W - block_size + 1))

    and what is left of a row is scaled up by the share that is left. Channels are dropped
    independently.
    """

    def __init__(self, rate: float, block_size: int, seed: int | None = None, **kwargs: Any):
        """Takes the share in [0, 1), the side of a block (cut to the map's), and the seed."""
        super().__init__(**kwargs)
        self.rate, self.block_size, self.seed = rate, block_size, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns float[B, H, W, D] of the same; H and W are static."""
        if not training or self.rate == 0:
            return inputs
        batch, (height, width, depth) = ops.shape(inputs)[0], inputs.shape[1:]
        block = min(self.block_size, height, width)
        rows, columns = height - block + 1, width - block + 1
        gamma = self.rate / block**2 * height * width / (rows * columns)
        draw = keras.random.uniform(
            (batch, rows, columns, depth), dtype="float32", seed=self.seed_generator
        )
        corners = ops.cast(draw < gamma, "float32")
        margin = (block - 1, block - 1)
        corners = ops.pad(corners, ((0, 0), margin, margin, (0, 0)))
        kept = 1.0 - ops.max_pool(corners, block, strides=1, padding="valid")
        # In float32: a bfloat16 sum stops growing after a few hundred ones.
        share = ops.mean(kept, axis=(1, 2, 3), keepdims=True)
        scaled = kept / ops.maximum(share, 1.0 / (height * width * depth))
        return inputs * ops.cast(scaled, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        config = {"rate": self.rate, "block_size": self.block_size, "seed": self.seed}
        return {**super().get_config(), **config}
