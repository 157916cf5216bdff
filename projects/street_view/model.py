"""The reader that the options name, what it begins with, its loss, and what decodes its logits."""

import functools
from typing import Any

from projects.street_view.config import StreetConfig
from tfcamp.decoding.ctc import decode_greedily
from tfcamp.decoding.numbers import decode_numbers
from tfcamp.decoding.single_digits import decode_single_digits
from tfcamp.errors import UserError
from tfcamp.export.image_model import Decoder
from tfcamp.losses import cross_entropy, ctc_loss, focal_cross_entropy, number_loss
from tfcamp.metrics.sequence import NumberMetrics
from tfcamp.models.image_classifier import ImageClassifierConfig, build_image_classifier
from tfcamp.models.number_reader import NumberReaderConfig, build_number_reader
from tfcamp.models.trunks import load_pretrained, trunk_of
from tfcamp.training.checkpoints import read_checkpoint
from tfcamp.training.fine_tuning import take_weights
from tfcamp.training.step import Loss
from tfcamp.training.variables import read_variables

import keras
import numpy as np


def build_model(config: StreetConfig) -> keras.Model:
    """Builds the model that the options name; it returns logits."""
    height, width = config.image_size
    sizes: dict[str, Any] = {
        "height": height,
        "width": width,
        "width_multiplier": config.width_multiplier,
        "depth": config.depth,
        "activation": config.activation,
        "drop_block": config.drop_block,
        "dropout": config.dropout,
    }
    try:
        if not config.reads_numbers:
            return build_image_classifier(
                config.model, ImageClassifierConfig(num_classes=10, **sizes)
            )
        return build_number_reader(
            config.model,
            NumberReaderConfig(
                trunk=config.trunk,
                head_width=config.head_width,
                use_cudnn=not config.jit_compile,  # cuDNN's LSTM does not compile with XLA
                **sizes,
            ),
        )
    except ValueError as error:
        # For CTC, the image may be too narrow for six digits.
        raise UserError(f"--model {config.model}, {height}x{width} pixels: {error}") from error


def begin_from(config: StreetConfig, model: keras.Model) -> str:
    """Takes the weights that ``--init-from`` names.

    Returns:
      a line that says how many.

    Raises:
      UserError: there are none, or those of the trunk are not this trunk's.
    """
    left = take_weights(model, known_weights(config))
    # A head for another task is no loss; without its trunk nothing is gained.
    needed = model if config.model == "mlp" else trunk_of(model)
    if missing := sorted({weight.path for weight in needed.weights}.intersection(left)):
        raise UserError(
            f"--init-from {config.init_from}: has no {missing[0]} of this shape: give the --trunk, "
            "--width-multiplier, --depth and sizes of that run"
        )
    taken = len(model.weights) - len(left)
    return f"{taken} of {len(model.weights)} weights come from {config.init_from}"


def known_weights(config: StreetConfig) -> dict[str, np.ndarray]:
    """Reads the best weights of the run that ``--init-from`` names, or those of ImageNet.

    Raises:
      UserError: they cannot be had.
    """
    assert config.init_from is not None
    try:
        if config.from_imagenet:
            return read_variables(load_pretrained(config.trunk).weights)
        path = config.init_from / "checkpoints" / "best.npz"
        if not path.exists():
            raise UserError(
                f"--init-from {config.init_from}: has no {path.name}; expected a run folder"
            )
        return read_checkpoint(path).arrays
    except (OSError, ValueError) as error:
        raise UserError(f"--init-from {config.init_from}: {error}") from error


def build_loss(config: StreetConfig) -> Loss:
    """Builds the loss that the options name; rows of the whole batch share one divisor."""
    if config.model == "ctc":
        return ctc_loss
    loss = number_loss if config.model == "multihead" else focal_cross_entropy
    return functools.partial(loss, label_smoothing=config.label_smoothing, gamma=config.focal_gamma)


def decoder(config: StreetConfig) -> Decoder:
    """Returns what makes digits of the model's logits."""
    decoders: dict[str, Decoder] = {"multihead": decode_numbers, "ctc": decode_greedily}
    return decoders.get(config.model, decode_single_digits)


def score(config: StreetConfig, labels: np.ndarray, logits: Any) -> dict[str, float]:
    """Returns the scores of what the model says of a split, and its loss without smoothing."""
    losses: dict[str, Any] = {"multihead": number_loss, "ctc": ctc_loss}
    loss = losses.get(config.model, cross_entropy)(labels, logits, weights=None)
    metrics = NumberMetrics()
    digits, _ = decoder(config)(logits)
    metrics.update(labels.reshape(len(labels), -1), digits.numpy())
    return {"loss": float(loss.mean()), **metrics.result().scalars()}
