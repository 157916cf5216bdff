"""Trunks: the part of an image model from pixels to maps, which any other model may go on from.

Those of `tfcamp.models.image_classifier`, and three of `keras.applications`, for which there are
weights that were trained on the 1.3 million photographs of ImageNet (Deng et al., 2009).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import keras

from tfcamp.models.image_blocks import ImageClassifierConfig, TrunkConfig, batch_norm, drop_block
from tfcamp.models.image_classifier import build_image_classifier


@dataclass(frozen=True)
class PretrainedNetwork:
    """A network of `keras.applications`, up to maps that are 1/8 as high and wide as the image.

    Deeper maps of a picture 96 pixels wide have one column for each of six digits, or less.

    Attributes:
      build: from ``include_top``, ``weights`` and ``input_tensor`` to the network.
      last_layer: the last one of this size.
      mean: with which its inputs are normalised, of red, green and blue in [0, 1].
      deviation: the standard deviation, likewise.
    """

    build: Callable[..., keras.Model]
    last_layer: str
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    deviation: tuple[float, float, float] = (0.5, 0.5, 0.5)


def _efficientnet_v2_b0(**options: Any) -> keras.Model:
    return keras.applications.EfficientNetV2B0(include_preprocessing=False, **options)


# Sandler et al., 2018; He et al., 2016 (identity mappings); Tan and Le, 2021.
PRETRAINED = {
    "mobilenet_v2": PretrainedNetwork(keras.applications.MobileNetV2, "block_6_expand_relu"),
    "resnet50_v2": PretrainedNetwork(keras.applications.ResNet50V2, "conv3_block4_preact_relu"),
    "efficientnet_v2_b0": PretrainedNetwork(
        _efficientnet_v2_b0,
        "block4a_expand_activation",
        mean=(0.485, 0.456, 0.406),
        deviation=(0.229, 0.224, 0.225),
    ),
}


def build_trunk(name: str, config: TrunkConfig) -> keras.Model:
    """Builds the part of a network from pixels to maps, with random weights.

    Args:
      name: a builder of `tfcamp.models.image_classifier` that has maps, which is any but mlp, or a
        key of `PRETRAINED`.
      config: sizes and choices; what a classifier adds to them is not looked at. Those of
        `PRETRAINED` have channels, depth, activation and strides of their own.

    Returns:
      A functional model, ``image: float[B, H, W, 3]`` to ``features: float[B, h, w, D]``.

    Raises:
      ValueError: an unknown name, or a model that has no maps.

    >>> build_trunk("resnet", TrunkConfig(height=48, width=96)).output.shape
    (None, 6, 12, 128)
    >>> build_trunk("mobilenet_v2", TrunkConfig(height=48, width=96)).output.shape
    (None, 6, 12, 192)
    """
    if name in PRETRAINED:
        return _build_pretrained_trunk(PRETRAINED[name], config)
    sizes = {field.name: getattr(config, field.name) for field in fields(TrunkConfig)}
    # The classifier's head is never run: what is cut off is no part of the new model.
    return trunk_of(build_image_classifier(name, ImageClassifierConfig(num_classes=1, **sizes)))


def trunk_of(model: keras.Model) -> keras.Model:
    """Returns the part of a model up to its feature maps; its layers are the model's own.

    So what is done to it is done to the model: ``trunk_of(reader).trainable = False`` freezes the
    trunk of a reader, its batch normalisation included.

    Raises:
      ValueError: the model has no layer "features".
    """
    if not any(layer.name == "features" for layer in model.layers):
        raise ValueError(f"model {model.name!r} has no layer 'features', so it has no trunk")
    return keras.Model(model.input, model.get_layer("features").output, name="trunk")


def load_pretrained(name: str, weights: str = "imagenet") -> keras.Model:
    """Loads a whole network, whose weights have the paths of those of its trunk.

    Args:
      name: a key of `PRETRAINED`.
      weights: "imagenet", which Keras downloads to ``~/.keras/models`` if they are not there, or
        the path of such a file.

    Raises:
      OSError: the weights could not be had.
    """
    build = PRETRAINED[name].build
    try:
        # The sides change no weight; Keras warns where they are not those of its training.
        return build(include_top=False, weights=weights, input_shape=(224, 224, 3))
    except Exception as error:  # Keras raises nothing narrower where a download fails
        raise OSError(
            f"{error}; Keras takes the file from ~/.keras/models where it is there; one that was "
            "there before may be cut off: delete it"
        ) from error


def _build_pretrained_trunk(network: PretrainedNetwork, config: TrunkConfig) -> keras.Model:
    image = keras.Input((config.height, config.width, 3), name="image")
    variance = [deviation**2 for deviation in network.deviation]
    scaled = keras.layers.Normalization(mean=network.mean, variance=variance, name="scaled")(image)
    whole = network.build(include_top=False, weights=None, input_tensor=scaled)
    ours = batch_norm("ours")
    for layer in whole.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum, layer.synchronized = ours.momentum, ours.synchronized
    maps = whole.get_layer(network.last_layer).output
    return keras.Model(image, drop_block(config, "features")(maps), name="trunk")
