"""TensorFlow 2 / Keras 3 examples that work like a product.

Importing this package is cheap: it does not import TensorFlow. Its rooms are described in
``tfcamp/README.md``.
"""

import os

__version__ = "0.1.0"

# tfcamp is written for the TensorFlow backend, whatever ~/.keras/keras.json says.
os.environ["KERAS_BACKEND"] = "tensorflow"
# TensorFlow's start-up notes hide the lines a user must read; warnings and errors still show.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
