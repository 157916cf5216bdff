"""Encoded texts on disk: rows of token ids that are read by their number."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcamp.data.pipeline import Batch
from tfcamp.data.storage import whole_folder


class PackedExamples:
    """Rows of token ids of several aligned streams, kept on disk and read by their number.

    The ids of all rows stand one after another in one file; only the length and the label of each
    row stay in memory (16 bytes a row). Rows are read from the file rather than through a memory
    map, whose pages would count as the memory of the process.
    """

    def __init__(self, folder: Path) -> None:
        """Opens what :meth:`write` wrote to ``folder``.

        Raises:
          FileNotFoundError: nothing complete stands there.
        """
        header = json.loads((folder / "header.json").read_text("utf-8"))
        self.streams: tuple[str, ...] = tuple(header["streams"])
        with np.load(folder / "rows.npz") as rows:
            self.lengths: np.ndarray = rows["lengths"]
            self.labels: np.ndarray = rows["labels"]
        self._starts = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        self._path = folder / "ids.bin"

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.labels)

    def signature(self, num_rows: int | None, length: int | None) -> tuple:
        """Returns the tf.TensorSpecs of what :meth:`read` returns; None for what may vary."""
        ids = tf.TensorSpec([num_rows, length], tf.int32)
        return (
            {name: ids for name in self.streams},
            tf.TensorSpec([num_rows], tf.int32),
            tf.TensorSpec([num_rows], tf.float32),
        )

    @classmethod
    def write(
        cls,
        folder: Path,
        streams: Sequence[str],
        batches: Iterable[tuple[Mapping[str, tf.RaggedTensor], Sequence[int]]],
    ) -> "PackedExamples":
        """Writes encoded rows and opens them.

        Args:
          folder: see :func:`whole_folder`.
          streams: the names of the streams.
          batches: for each batch of rows the RaggedTensor int32[B, None] of each stream, all of
            the same row lengths, and the labels int[B].
        """
        lengths: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        with whole_folder(folder) as partial:
            with open(partial / "ids.bin", "wb") as file:
                for encoded, batch_labels in batches:
                    flat = [encoded[name].flat_values.numpy() for name in streams]
                    file.write(np.stack(flat, axis=1).astype(np.int32).tobytes())
                    lengths.append(encoded[streams[0]].row_lengths().numpy().astype(np.int32))
                    labels.append(np.asarray(batch_labels, np.int32))
            # savez, because the error of np.save does not say that the disk is full.
            nothing = [np.zeros(0, np.int32)]
            np.savez(
                partial / "rows.npz",
                lengths=np.concatenate(lengths or nothing),
                labels=np.concatenate(labels or nothing),
            )
            header = json.dumps({"streams": list(streams)})
            (partial / "header.json").write_text(header, "utf-8")
        return cls(folder)

    def read(self, rows: np.ndarray, length: int, num_real: int | None = None) -> Batch:
        """Reads rows as one padded batch.

        Args:
          rows: int[B] numbers of rows.
          length: T; longer rows are cut.
          num_real: rows after the first so many only fill up the batch: their weight is 0. None if
            all of them count.

        Returns:
          inputs, int32[B, T] for each stream; labels int32[B]; weights float32[B].
        """
        ids = np.zeros((len(rows), length, len(self.streams)), np.int32)
        row_bytes = 4 * len(self.streams)
        # Rows are far apart: a buffer would read kilobytes for each of them.
        with open(self._path, "rb", buffering=0) as file:
            for position, row in enumerate(rows):
                size = min(int(self.lengths[row]), length)
                file.seek(int(self._starts[row]) * row_bytes)
                if file.readinto(ids[position, :size].data) != size * row_bytes:
                    raise OSError(f"{self._path} is cut off; delete its folder")
        weights = np.ones(len(rows), np.float32)
        if num_real is not None:
            weights[num_real:] = 0.0
        inputs = {name: ids[:, :, index] for index, name in enumerate(self.streams)}
        return inputs, self.labels[rows], weights
