"""Losses, each returned as a sum and the weight to divide it by.

A mean taken inside a loss is wrong as soon as a batch is ragged, padded or split over replicas:
the mean of means is not the mean. So a loss here returns ``WeightedSum(total, weight)``; whoever
knows the whole batch adds both up and divides once.

Every loss takes *logits* and works in float32 whatever their dtype. Do not pass probabilities: a
softmax in the model and another in the loss leave a perfect prediction of ten classes at 1.46
nats, and training stalls.
"""

from tfcamp.losses.classification import (
    binary_cross_entropy,
    binary_focal_cross_entropy,
    cross_entropy,
    focal_cross_entropy,
)
from tfcamp.losses.sequence import ctc_log_probability, ctc_loss, number_loss
from tfcamp.losses.weighted import WeightedSum

__all__ = [
    "WeightedSum",
    "binary_cross_entropy",
    "binary_focal_cross_entropy",
    "cross_entropy",
    "ctc_log_probability",
    "ctc_loss",
    "focal_cross_entropy",
    "number_loss",
]
