"""Decoded images on disk, read by their row number."""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcamp.data.pipeline import Batch
from tfcamp.data.storage import whole_folder


class PackedImages:
    """Images of one size with their labels, kept on disk and read by their number.

    Decoding a photograph takes as long as training on it, so it is done once. The pixels stand one
    image after another in one file; only labels and boxes stay in memory.

    Attributes:
      labels: int32[N, ...].
      boxes: float32[N, 4], the part of each image that holds what is to be read: top, left, bottom,
        right as shares of the image's sides. The whole image where it is not known.
      lengths: int32[N], all 1: images have one shape.
    """

    def __init__(self, folder: Path) -> None:
        """Opens what :meth:`write` wrote to ``folder``.

        Raises:
          FileNotFoundError: nothing complete stands there.
        """
        header = json.loads((folder / "header.json").read_text("utf-8"))
        self._shape = (header["height"], header["width"], 3)
        with np.load(folder / "rows.npz") as rows:
            self.labels: np.ndarray = rows["labels"]
            self.boxes: np.ndarray = rows["boxes"]
        self.lengths = np.ones(len(self.labels), np.int32)
        self._path = folder / "images.bin"

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.labels)

    def signature(self, num_rows: int | None, length: int | None) -> tuple:
        """Returns the tf.TensorSpecs of what :meth:`read` returns; None for what may vary."""
        del length
        inputs = {
            "image": tf.TensorSpec([num_rows, *self._shape], tf.uint8),
            "box": tf.TensorSpec([num_rows, 4], tf.float32),
        }
        labels = tf.TensorSpec([num_rows, *self.labels.shape[1:]], tf.int32)
        return inputs, labels, tf.TensorSpec([num_rows], tf.float32)

    @classmethod
    def write(
        cls,
        folder: Path,
        height: int,
        width: int,
        batches: Iterable[tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]],
    ) -> "PackedImages":
        """Writes images and opens them.

        Args:
          folder: see :func:`tfcamp.data.pipeline.whole_folder`.
          height: H.
          width: W.
          batches: float[B, H, W, 3] in [0, 1], boxes float[B, 4], labels int[B, ...]. What is
            stored is rounded to 8 bits.

        Raises:
          ValueError: an image has another size, or there is not one box and label for each.
        """
        shape = (height, width, 3)
        all_boxes: list[np.ndarray] = []
        all_labels: list[np.ndarray] = []
        with whole_folder(folder) as partial:
            with open(partial / "images.bin", "wb") as file:
                for images, boxes, labels in batches:
                    pixels = np.round(np.asarray(images) * 255.0).astype(np.uint8)
                    boxes = np.asarray(boxes, np.float32)
                    labels = np.asarray(labels, np.int32)
                    if pixels.shape[1:] != shape or not len(pixels) == len(boxes) == len(labels):
                        raise ValueError(
                            f"images {list(pixels.shape)}, boxes {list(boxes.shape)} and labels "
                            f"{list(labels.shape)} do not fit images of {list(shape)}"
                        )
                    file.write(pixels.tobytes())
                    all_boxes.append(boxes)
                    all_labels.append(labels)
            # savez, because the error of np.save does not say that the disk is full.
            np.savez(
                partial / "rows.npz",
                boxes=np.concatenate(all_boxes or [np.zeros((0, 4), np.float32)]),
                labels=np.concatenate(all_labels or [np.zeros(0, np.int32)]),
            )
            header = json.dumps({"height": height, "width": width})
            (partial / "header.json").write_text(header, "utf-8")
        return cls(folder)

    def read(self, rows: np.ndarray, length: int = 1, num_real: int | None = None) -> Batch:
        """Reads rows as one batch.

        Args:
          rows: int[B] numbers of rows.
          length: images have none; whatever it is, they are read whole.
          num_real: rows after the first so many only fill up the batch: their weight is 0. None if
            all of them count.

        Returns:
          inputs, "image" uint8[B, H, W, 3] and "box" float32[B, 4]; labels int32[B, ...]; weights
          float32[B].
        """
        del length
        images = np.empty((len(rows), *self._shape), np.uint8)
        size = math.prod(self._shape)
        with open(self._path, "rb", buffering=0) as file:
            for position, row in enumerate(rows):
                file.seek(int(row) * size)
                if file.readinto(images[position].data) != size:
                    raise OSError(f"{self._path} is cut off; delete its folder")
        weights = np.ones(len(rows), np.float32)
        if num_real is not None:
            weights[num_real:] = 0.0
        return {"image": images, "box": self.boxes[rows]}, self.labels[rows], weights
