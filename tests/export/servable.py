"""A SavedModel as TensorFlow Serving has it: a session and the graph of the signatures, no Python.

Serving's C++ loader and the session loader of TensorFlow 1 do the same: they read the graph, run
the ops that restore the variables and fill the tables, and know nothing of modules or layers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


class Servable:
    """A loaded SavedModel."""

    def __init__(self, folder: Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self.signatures: Mapping[str, Any] = meta_graph.signature_def

    def run(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Raises:
          tf.errors.OpError: a value has another shape than its input, or the graph fails.
        """
        described = self.signatures[signature]
        fetches = {name: info.name for name, info in described.outputs.items()}
        feeds = {described.inputs[name].name: value for name, value in inputs.items()}
        answer = self._session.run(fetches, feeds)
        return {name: np.asarray(value) for name, value in answer.items()}
