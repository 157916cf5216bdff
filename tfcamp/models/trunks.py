"""Trunks: the part of an image model from pixels to maps, which any other model may go on from."""

from dataclasses import fields

import keras

from tfcamp.models.image_blocks import ImageClassifierConfig, TrunkConfig
from tfcamp.models.image_classifier import build_image_classifier


def build_trunk(name: str, config: TrunkConfig) -> keras.Model:
    """Builds the part of a classifier from pixels to maps.

    Args:
      name: a builder of `tfcamp.models.image_classifier` that has maps: any but mlp.
      config: sizes and choices; what a classifier adds to them is not looked at.

    Returns:
      A functional model, ``image: float[B, H, W, 3]`` to ``features: float[B, h, w, D]``.

    Raises:
      ValueError: an unknown name, or a model that has no maps.

    >>> build_trunk("resnet", TrunkConfig(height=48, width=96)).output.shape
    (None, 6, 12, 128)
    """
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
