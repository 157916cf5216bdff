"""Image classifiers: nine builders from pixels to logits, from a perceptron to MobileNet.

Each is a function ``ImageClassifierConfig -> keras.Model``. The input ``image`` is
float[B, H, W, 3] in [0, 1]; the output is logits, float32[B, C] under every precision policy, with
no softmax: the loss takes logits.

The networks are the papers', with fewer channels: they are sized for digits of 32x32 pixels and a
CPU (`ImageClassifierConfig.width_multiplier` sizes them). A larger image is halved by the first
layer. In all but mlp the layer "features" gives maps float[B, h, w, D]; up to there a classifier is
a trunk, which `tfcamp.models.trunks` gives to any other model.
"""

from collections.abc import Callable
from typing import Any

import keras

from tfcamp.models.image_blocks import (
    ImageClassifierConfig,
    batch_norm,
    conv_block,
    convolution,
    dense_block,
    drop_block,
    image_input,
    inception_block,
    inverted_residual_block,
    max_pool,
    residual_block,
)

__all__ = [
    "BUILDERS",
    "ImageClassifierConfig",
    "build_image_classifier",
]


def build_mlp(config: ImageClassifierConfig) -> keras.Model:
    """Builds a multi-layer perceptron on the pixels (Rumelhart et al., 1986).

    It does not know which pixels are neighbours, so it has no maps and is no trunk.
    """
    image, x = image_input(config)
    x = keras.layers.Flatten(name="pixels")(x)
    for i in range(config.depth or 2):
        x = _dense(config, x, 512, f"hidden_{i}")
    return _classifier(config, image, x, "mlp")


def build_lenet5(config: ImageClassifierConfig) -> keras.Model:
    """Builds LeNet-5 (LeCun et al., 1998, fig. 2): two convolutions, two poolings, three layers.

    The channels are the paper's. Its tanh gives way to the config's activation, its partial
    connections and radial basis functions to full connections and a softmax.
    """
    image, x = image_input(config)
    for i, channels in enumerate((6, 16)):
        x = convolution(
            config.channels(channels),
            5,
            padding="valid",
            strides=config.strides(0) if i == 0 else 1,
            activation=config.activation,
            name=f"conv_{i}",
        )(x)
        # Padded: on a small image an odd row would be lost.
        pool, name = config.strides(i + 1), f"pool_{i}"
        x = keras.layers.AveragePooling2D(pool, padding="same", name=name)(x)
    x = drop_block(config, "features")(x)
    x = keras.layers.Flatten(name="flat_features")(x)
    x = _dense(config, x, 120, "hidden_0")
    x = _dense(config, x, 84, "hidden_1")
    return _classifier(config, image, x, "lenet5")


def build_alexnet(config: ImageClassifierConfig) -> keras.Model:
    """Builds AlexNet (Krizhevsky et al., 2012, fig. 2): five convolutions, overlapping pooling.

    A third of the paper's channels, with smaller filters for smaller images, and without its local
    response normalisation, which later work found to help little.
    """
    image, x = image_input(config)

    def layer(x: Any, channels: int, size: int, name: str, strides: Any = 1) -> Any:
        return convolution(
            config.channels(channels),
            size,
            strides=strides,
            activation=config.activation,
            name=name,
        )(x)

    x = layer(x, 32, 5, "conv_0", strides=config.strides(0))
    x = max_pool(x, config.strides(1), "pool_0", size=3)
    x = layer(x, 84, 5, "conv_1")
    x = max_pool(x, config.strides(2), "pool_1", size=3)
    for i, channels in enumerate((128, 128, 84)):
        x = layer(x, channels, 3, f"conv_{i + 2}")
    x = drop_block(config, "features")(x)
    x = max_pool(x, (2, 2), "pool_2", size=3)
    x = keras.layers.Flatten(name="flat_features")(x)
    for i in range(2):
        x = _dense(config, x, 256, f"hidden_{i}")
    return _classifier(config, image, x, "alexnet")


def build_vgg(config: ImageClassifierConfig) -> keras.Model:
    """Builds a VGG network (Simonyan and Zisserman, 2015): stages of 3x3 convolutions and pooling.

    Three stages of 32, 64 and 128 channels, two convolutions each, with batch normalisation, for
    want of which the authors had to grow their deep networks from a shallow one.
    """
    image, x = image_input(config)
    for stage, channels in enumerate((32, 64, 128)):
        strides = config.strides(stage)
        if stage > 0:
            x = max_pool(x, strides, f"pool_{stage - 1}")
            strides = (1, 1)
        for i in range(config.depth or 2):
            x = conv_block(
                x,
                config.channels(channels),
                strides=strides if i == 0 else 1,
                activation=config.activation,
                name=f"stage_{stage}_{i}",
            )
        x = _end_stage(config, x, stage)
    x = max_pool(x, (2, 2), "pool_2")
    x = keras.layers.Flatten(name="flat_features")(x)
    x = _dense(config, x, 256, "hidden")
    return _classifier(config, image, x, "vgg")


def build_nin(config: ImageClassifierConfig) -> keras.Model:
    """Builds Network in Network (Lin et al., 2014, fig. 2): each filter is a small perceptron.

    A convolution is followed by two of size 1x1. The last one gives a map for each class, whose
    mean is the logit: global average pooling, the paper's other idea. A third of its channels, and
    batch normalisation.
    """
    image, x = image_input(config)
    for stage, (size, channels) in enumerate(((5, (64, 52, 32)), (5, (64, 64, 64)), (3, (64, 64)))):
        strides = config.strides(stage)
        if stage > 0:
            x = max_pool(x, strides, f"pool_{stage - 1}", size=3)
            x = keras.layers.Dropout(config.dropout, name=f"dropout_{stage - 1}")(x)
            strides = (1, 1)
        for i, width in enumerate(channels):
            x = conv_block(
                x,
                config.channels(width),
                size if i == 0 else 1,
                strides=strides if i == 0 else 1,
                activation=config.activation,
                name=f"stage_{stage}_{i}",
            )
        x = _end_stage(config, x, stage)
    x = convolution(config.num_classes, 1, dtype="float32", name="class_maps")(x)
    logits = keras.layers.GlobalAveragePooling2D(dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="nin")


def build_googlenet(config: ImageClassifierConfig) -> keras.Model:
    """Builds GoogLeNet (Szegedy et al., 2015, table 1): stages of inception modules.

    Modules of 64, 128 and 256 channels, two in each stage, with batch normalisation (Ioffe and
    Szegedy, 2015), which made the auxiliary classifiers needless.
    """
    image, x = image_input(config)
    x = _stem(config, x, 32)
    for stage, channels in enumerate((64, 128, 256)):
        if stage > 0:
            x = max_pool(x, config.strides(stage), f"pool_{stage - 1}", size=3)
        for i in range(config.depth or 2):
            x = inception_block(
                x,
                config.channels(channels),
                activation=config.activation,
                name=f"stage_{stage}_{i}",
            )
        x = _end_stage(config, x, stage)
    return _classifier(config, image, _mean(x), "googlenet")


def build_resnet(config: ImageClassifierConfig) -> keras.Model:
    """Builds a residual network of basic blocks (He et al., 2016, sec. 4.2).

    Three stages of two blocks and 32, 64 and 128 channels: wider and shallower than the paper's 16,
    32 and 64, which is faster for the same accuracy (Zagoruyko and Komodakis, 2016).
    """
    image, x = image_input(config)
    x = _stem(config, x, 32)
    for stage, channels in enumerate((32, 64, 128)):
        for i in range(config.depth or 2):
            begins = i == 0 and stage > 0
            x = residual_block(
                x,
                config.channels(channels),
                strides=config.strides(stage) if begins else (1, 1),
                activation=config.activation,
                name=f"stage_{stage}_{i}",
            )
        x = _end_stage(config, x, stage)
    return _classifier(config, image, _mean(x), "resnet")


def build_densenet(config: ImageClassifierConfig) -> keras.Model:
    """Builds DenseNet (Huang et al., 2017, table 1): dense blocks, and transitions that halve.

    Three blocks of four layers that add 12 channels each; a transition also halves the channels
    (their compression, 0.5).
    """
    image, x = image_input(config)
    x = convolution(config.channels(24), 3, strides=config.strides(0), use_bias=False, name="stem")(
        x
    )
    for stage in range(3):
        if stage > 0:
            # Named after the stage before, whose outputs it normalises.
            name = f"transition_{stage - 1}"
            x = batch_norm(f"{name}_norm")(x)
            x = keras.layers.Activation(config.activation, name=f"{name}_active")(x)
            x = convolution(x.shape[-1] // 2, 1, use_bias=False, name=f"{name}_conv")(x)
            x = keras.layers.AveragePooling2D(
                config.strides(stage), padding="same", name=f"{name}_pool"
            )(x)
        x = dense_block(
            x,
            config.channels(12),
            config.depth or 4,
            activation=config.activation,
            name=f"stage_{stage}",
        )
        if stage == 2:
            x = batch_norm("final_norm")(x)
            x = keras.layers.Activation(config.activation, name="final")(x)
        x = _end_stage(config, x, stage)
    return _classifier(config, image, _mean(x), "densenet")


def build_mobilenet(config: ImageClassifierConfig) -> keras.Model:
    """Builds MobileNetV2 (Sandler et al., 2018, table 2): inverted residuals, depthwise filters.

    Three stages of two blocks and 16, 32 and 64 channels, then a 1x1 convolution to 256.
    """
    image, x = image_input(config)
    x = _stem(config, x, 16)
    for stage, channels in enumerate((16, 32, 64)):
        for i in range(config.depth or 2):
            begins = i == 0 and stage > 0
            x = inverted_residual_block(
                x,
                config.channels(channels),
                strides=config.strides(stage) if begins else (1, 1),
                activation=config.activation,
                name=f"stage_{stage}_{i}",
            )
        if stage == 2:
            width = config.channels(256)
            x = conv_block(x, width, 1, activation=config.activation, name="final")
        x = _end_stage(config, x, stage)
    return _classifier(config, image, _mean(x), "mobilenet")


BUILDERS: dict[str, Callable[[ImageClassifierConfig], keras.Model]] = {
    "mlp": build_mlp,
    "lenet5": build_lenet5,
    "alexnet": build_alexnet,
    "vgg": build_vgg,
    "nin": build_nin,
    "googlenet": build_googlenet,
    "resnet": build_resnet,
    "densenet": build_densenet,
    "mobilenet": build_mobilenet,
}


def build_image_classifier(model: str, config: ImageClassifierConfig) -> keras.Model:
    """Builds an image classifier by name.

    Args:
      model: a key of `BUILDERS`.
      config: sizes and choices.

    Returns:
      A functional model, ``image: float[B, H, W, 3]`` to ``logits: float32[B, C]``.

    Raises:
      ValueError: an unknown model.

    >>> build_image_classifier("lenet5", ImageClassifierConfig(num_classes=10)).output.shape
    (None, 10)
    """
    if model not in BUILDERS:
        raise ValueError(f"model must be one of {', '.join(BUILDERS)}, got {model!r}")
    return BUILDERS[model](config)


def _stem(config: ImageClassifierConfig, x: Any, channels: int) -> Any:
    """Begins a network with a 3x3 convolution, which halves a larger image."""
    width, strides = config.channels(channels), config.strides(0)
    return conv_block(x, width, strides=strides, activation=config.activation, name="stem")


def _end_stage(config: ImageClassifierConfig, x: Any, stage: int) -> Any:
    """Drops blocks after the last two of three stages, where Ghiasi et al. (2018) found it best."""
    names = ("", "drop_block", "features")
    return drop_block(config, names[stage])(x) if stage > 0 else x


def _mean(x: Any) -> Any:
    return keras.layers.GlobalAveragePooling2D(name="mean")(x)


def _dense(config: ImageClassifierConfig, x: Any, width: int, name: str) -> Any:
    x = keras.layers.Dropout(config.dropout, name=f"{name}_dropout")(x)
    return keras.layers.Dense(
        config.channels(width),
        activation=config.activation,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _classifier(config: ImageClassifierConfig, image: Any, x: Any, name: str) -> keras.Model:
    """Ends a model with dropout and a linear layer, in float32 whatever the policy."""
    x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    logits = keras.layers.Dense(config.num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
