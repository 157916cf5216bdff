"""Classification losses: cross-entropy and focal loss, of many classes or of two."""

import math
from typing import Any

import tensorflow as tf

from tfcamp.losses.weighted import WeightedSum, check_shapes, weighted_sum


def cross_entropy(
    labels: Any,
    logits: Any,
    *,
    label_smoothing: float = 0.0,
    class_weights: Any = None,
    weights: Any = None,
) -> WeightedSum:
    """Returns the softmax cross-entropy of a batch as a sum and its weight.

    With p = softmax(logits), label distribution y, and smoothing e (Szegedy et al., 2016, sec. 7):

        q_c = (1 - e) y_c + e / C        loss = - sum_c class_weights_c q_c log p_c

    Args:
      labels: int[B, ...] class ids in [0, C), or float[B, ..., C] class probabilities. An id
        outside the range makes the total NaN, unless its row has weight 0.
      logits: float[B, ..., C]; computed in float32 whatever its dtype.
      label_smoothing: e in [0, 1); 0 leaves the labels as they are.
      class_weights: float[C], or None for all ones.
      weights: float[B, ...], 0 on padding, or None for all ones.

    Returns:
      WeightedSum(total, weight), both float32[]; total in nats.

    Raises:
      ValueError: label_smoothing is outside [0, 1), or the shapes do not fit.

    >>> print(f"{cross_entropy([0], [[2.0, 0.0]]).mean():.4f} nats")
    0.1269 nats
    >>> print(f"{cross_entropy([0], [[2.0, 0.0]], label_smoothing=0.2).mean():.4f} nats")
    0.3269 nats
    """
    losses = class_losses(
        labels, logits, class_weights=class_weights, label_smoothing=label_smoothing
    )
    return weighted_sum(losses, weights)


def focal_cross_entropy(
    labels: Any,
    logits: Any,
    *,
    gamma: float = 2.0,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
    weights: Any = None,
) -> WeightedSum:
    """Returns the focal loss of a batch as a sum and its weight (Lin et al., 2017, eq. 5).

    Written for many classes and soft labels, with p = softmax(logits) and q the labels after
    smoothing; the class weights are the paper's alpha:

        loss = - sum_c class_weights_c q_c (1 - p_c)^gamma log p_c

    Args:
      labels: int[B, ...] class ids in [0, C), or float[B, ..., C] class probabilities. An id
        outside the range makes the total NaN, unless its row has weight 0.
      logits: float[B, ..., C]; computed in float32 whatever its dtype.
      gamma: focusing exponent >= 0; 0 is plain cross-entropy.
      class_weights: float[C], or None for all ones.
      label_smoothing: e in [0, 1), as in `cross_entropy`.
      weights: float[B, ...], 0 on padding, or None for all ones.

    Returns:
      WeightedSum(total, weight), both float32[]; total in nats.

    Raises:
      ValueError: gamma < 0, label_smoothing is outside [0, 1), or the shapes do not fit.

    >>> print(f"{focal_cross_entropy([0], [[2.0, 0.0]]).mean():.4f} nats")
    0.0018 nats
    """
    losses = class_losses(
        labels,
        logits,
        gamma=gamma,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
    )
    return weighted_sum(losses, weights)


def binary_cross_entropy(
    labels: Any,
    logits: Any,
    *,
    alpha: float | None = None,
    label_smoothing: float = 0.0,
    weights: Any = None,
) -> WeightedSum:
    """Returns the sigmoid cross-entropy of a batch as a sum and its weight.

    With p = sigmoid(logit), label y and smoothing e:

        q = (1 - e) y + e / 2        loss = - alpha q log p - (1 - alpha) (1 - q) log(1 - p)

    where both factors are 1 if alpha is None. For several labels a row, every element counts for
    itself.

    Args:
      labels: int or float[B, ...], probabilities of the positive class in [0, 1].
      logits: float[B, ...], same shape; computed in float32 whatever its dtype.
      alpha: weight in [0, 1] of the positive class, against 1 - alpha, or None for no weights.
      label_smoothing: e in [0, 1); 0 leaves the labels as they are.
      weights: float[B, ...], 0 on padding, or None for all ones.

    Returns:
      WeightedSum(total, weight), both float32[]; total in nats.

    Raises:
      ValueError: alpha or label_smoothing is outside its range, or the shapes do not fit.

    >>> print(f"{binary_cross_entropy([1], [2.0]).mean():.4f} nats")
    0.1269 nats
    """
    return binary_focal_cross_entropy(
        labels,
        logits,
        gamma=0.0,
        alpha=alpha,
        label_smoothing=label_smoothing,
        weights=weights,
    )


def binary_focal_cross_entropy(
    labels: Any,
    logits: Any,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    label_smoothing: float = 0.0,
    weights: Any = None,
) -> WeightedSum:
    """Returns the binary focal loss of a batch as a sum and its weight (Lin et al., 2017, eq. 5).

    With p = sigmoid(logit) and q the label after smoothing:

        loss = - alpha q (1 - p)^gamma log p - (1 - alpha) (1 - q) p^gamma log(1 - p)

    where both factors are 1 if alpha is None.

    Args:
      labels: int or float[B, ...], probabilities of the positive class in [0, 1].
      logits: float[B, ...], same shape; computed in float32 whatever its dtype.
      gamma: focusing exponent >= 0; 0 is plain cross-entropy.
      alpha: weight in [0, 1] of the positive class, against 1 - alpha, or None for no weights.
      label_smoothing: e in [0, 1), as in `binary_cross_entropy`.
      weights: float[B, ...], 0 on padding, or None for all ones.

    Returns:
      WeightedSum(total, weight), both float32[]; total in nats.

    Raises:
      ValueError: an argument is outside its range, or the shapes do not fit.

    >>> print(f"{binary_focal_cross_entropy([1], [2.0], alpha=0.25).mean():.5f} nats")
    0.00045 nats
    """
    _check_gamma(gamma)
    _check_smoothing(label_smoothing)
    if alpha is not None and not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must be in [0, 1] or None, got {alpha!r}")
    logits = tf.cast(tf.convert_to_tensor(logits), tf.float32)
    labels = tf.cast(tf.convert_to_tensor(labels), tf.float32)
    check_shapes("labels", labels.shape, logits.shape)
    targets = (1.0 - label_smoothing) * labels + label_smoothing / 2.0
    log_p, log_rest = tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits)
    positive, negative = -targets * log_p, -(1.0 - targets) * log_rest
    if gamma > 0:
        positive *= tf.exp(gamma * log_rest)
        negative *= tf.exp(gamma * log_p)
    if alpha is not None:
        positive, negative = alpha * positive, (1.0 - alpha) * negative
    return weighted_sum(positive + negative, weights)


def class_losses(
    labels: Any,
    logits: Any,
    *,
    gamma: float = 0.0,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Returns what each row adds to `focal_cross_entropy`, float32[B, ...], before it is weighed.

    The arguments are those of `focal_cross_entropy`. For losses that put rows together in their
    own way.
    """
    _check_gamma(gamma)
    logits, labels = _as_logits(logits), tf.convert_to_tensor(labels)
    if labels.dtype.is_integer and gamma == 0 and class_weights is None:
        return _id_losses(labels, logits, label_smoothing)
    targets = _class_targets(labels, logits, label_smoothing)
    losses = -targets * tf.nn.log_softmax(logits)
    if gamma > 0:
        losses *= tf.exp(gamma * _log_of_the_rest(logits))
    return _sum_over_classes(losses, labels, class_weights)


def _id_losses(labels: tf.Tensor, logits: tf.Tensor, label_smoothing: float) -> tf.Tensor:
    """Returns the cross-entropies of class ids, float32[B, ...], without label distributions.

    With logits z, Z = sum_c exp z_c and smoothing e:

        loss = log Z - (1 - e) z_y - e mean_c z_c        dloss / dz = p - q

    Written down like that, it makes far fewer arrays of the size of the logits: with 8,000 classes
    it takes less than half the time of the sum over q log p (2 CPU cores).
    """
    _check_smoothing(label_smoothing)
    check_shapes("class ids", labels.shape, logits.shape[:-1])
    num_classes = tf.shape(logits)[-1]
    known = (labels >= 0) & (labels < tf.cast(num_classes, labels.dtype))
    rows = tf.range(tf.size(labels))
    places = tf.stack([rows, tf.cast(tf.reshape(tf.where(known, labels, 0), [-1]), tf.int32)], 1)

    @tf.custom_gradient
    def cross_entropies(z: tf.Tensor) -> tuple[tf.Tensor, Any]:
        p = tf.nn.softmax(z)
        # The largest p is exp(max z) / Z, at least 1 / C, where log is as exact as can be.
        largest = tf.reduce_max(z, axis=-1)
        losses = (1.0 - label_smoothing) * (largest - tf.gather_nd(z, places))
        if label_smoothing > 0:
            losses += label_smoothing * (largest - tf.reduce_mean(z, axis=-1))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            uniform = label_smoothing / tf.cast(num_classes, tf.float32)
            slopes = (p - uniform) * upstream[:, None]
            return tf.tensor_scatter_nd_sub(slopes, places, (1.0 - label_smoothing) * upstream)

        return losses - tf.math.log(tf.reduce_max(p, axis=-1)), gradient

    losses = cross_entropies(tf.reshape(logits, [-1, num_classes]))
    # An unknown id has no class, hence no loss: a mistake that nobody would notice.
    return tf.where(known, tf.reshape(losses, tf.shape(labels)), math.nan)


def _log_of_the_rest(logits: tf.Tensor) -> tf.Tensor:
    """Returns log(1 - p) for p = softmax(logits), float32[..., C], finite for finite logits.

    The direct way, log(1 - exp(log p)), is -inf once p rounds to 1, and its gradient NaN. Here the
    likeliest class sums the others instead; any other class has p <= 1/2, where log1p is exact.
    """
    num_classes = tf.shape(logits)[-1]
    likeliest = tf.one_hot(tf.argmax(logits, axis=-1), num_classes, on_value=True, off_value=False)
    log_p = tf.nn.log_softmax(logits)
    others = tf.reduce_logsumexp(tf.where(likeliest, -1e30, log_p), axis=-1, keepdims=True)
    return tf.where(likeliest, others, tf.math.log1p(-tf.minimum(tf.exp(log_p), 0.5)))


def _as_logits(logits: Any) -> tf.Tensor:
    logits = tf.cast(tf.convert_to_tensor(logits), tf.float32)
    if logits.shape.rank is not None and logits.shape.rank < 1:
        raise ValueError(f"logits must have a last axis of classes, got shape {logits.shape}")
    return logits


def _class_targets(labels: Any, logits: tf.Tensor, label_smoothing: float) -> tf.Tensor:
    """Returns the smoothed label distributions, float32[B, ..., C]."""
    _check_smoothing(label_smoothing)
    labels = tf.convert_to_tensor(labels)
    num_classes = tf.shape(logits)[-1]
    if labels.dtype.is_integer:
        check_shapes("class ids", labels.shape, logits.shape[:-1])
        targets = tf.one_hot(labels, num_classes)
    else:
        check_shapes("label probabilities", labels.shape, logits.shape)
        targets = tf.cast(labels, tf.float32)
    if label_smoothing == 0:
        return targets
    uniform = label_smoothing / tf.cast(num_classes, tf.float32)
    return (1.0 - label_smoothing) * targets + uniform


def _sum_over_classes(losses: tf.Tensor, labels: Any, class_weights: Any) -> tf.Tensor:
    """Sums the losses of the classes, float32[B, ..., C] to float32[B, ...]."""
    num_classes = tf.shape(losses)[-1]
    if class_weights is not None:
        class_weights = tf.cast(tf.convert_to_tensor(class_weights), tf.float32)
        check_shapes("class_weights", class_weights.shape, losses.shape[-1:])
        losses *= class_weights
    losses = tf.reduce_sum(losses, axis=-1)
    labels = tf.convert_to_tensor(labels)
    if labels.dtype.is_integer:
        # An unknown id has no class in one_hot, hence no loss: a mistake that nobody would notice.
        known = (labels >= 0) & (labels < tf.cast(num_classes, labels.dtype))
        losses = tf.where(known, losses, math.nan)
    return losses


def _check_gamma(gamma: float) -> None:
    if not 0.0 <= gamma < math.inf:
        raise ValueError(f"gamma must be a finite number >= 0, got {gamma!r}")


def _check_smoothing(label_smoothing: float) -> None:
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing!r}")
