"""The classifier that the options name, and its loss."""

import functools

from projects.news.config import NewsConfig
from projects.news.data import NewsData
from tfcamp.losses import cross_entropy, focal_cross_entropy
from tfcamp.models.text_classifier import TextClassifierConfig, build_text_classifier
from tfcamp.training.step import Loss

import keras
import numpy as np


def build_model(config: NewsConfig, data: NewsData) -> keras.Model:
    """Builds the model that the options name; it returns logits."""
    return build_text_classifier(
        config.model,
        TextClassifierConfig(
            streams=data.encoder.streams,
            num_classes=len(data.dataset.classes),
            embedding_dim=config.embedding_dim,
            width=config.width,
            num_layers=config.num_layers,
            # None: the builder hashes n-grams by itself, which is the idea of fasttext. For the
            # others, data.py made a stream with a vocabulary of each length.
            ngrams=None if config.model == "fasttext" else {},
            num_buckets=config.num_buckets,
            combine=config.combine,
            dropout=config.dropout,
            token_dropout=config.token_dropout,
            spatial_dropout=config.spatial_dropout,
            train_embeddings=config.train_embeddings,
            use_cudnn=not config.jit_compile,  # cuDNN's cells do not compile with XLA
        ),
        data.embeddings,
    )


def build_loss(config: NewsConfig, data: NewsData) -> Loss:
    """Builds the loss that the options name; rows of the whole batch share one divisor."""
    class_weights = None
    if config.class_weights == "balanced":
        counts = np.maximum(np.bincount(data.train.labels, minlength=len(data.dataset.classes)), 1)
        class_weights = (len(data.train) / (len(counts) * counts)).astype(np.float32)
    options = {"label_smoothing": config.label_smoothing, "class_weights": class_weights}
    if config.loss == "focal":
        return functools.partial(focal_cross_entropy, gamma=config.focal_gamma, **options)
    return functools.partial(cross_entropy, **options)
