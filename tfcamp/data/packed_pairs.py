"""Encoded sentence pairs on disk: rows of source and target ids that are read by their number."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcamp.data.pipeline import Batch
from tfcamp.data.storage import whole_folder
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID

_ID_BYTES = 4
_FILES = ("source.bin", "target.bin")


class PackedPairs:
    """Pairs of rows of token ids, kept on disk and read by their number.

    The ids of each side stand one row after another in one file; only the lengths stay in memory
    (24 bytes a pair). Rows are read from the files rather than through memory maps, whose pages
    would count as the memory of the process.

    Attributes:
      lengths: int32[N, 2], tokens of source and target, the end token of each included.
    """

    def __init__(self, folder: Path) -> None:
        """Opens what :meth:`write` wrote to ``folder``.

        Raises:
          FileNotFoundError: nothing complete stands there.
        """
        with np.load(folder / "rows.npz") as rows:
            self.lengths: np.ndarray = rows["lengths"]
        self._starts = np.cumsum(self.lengths, axis=0, dtype=np.int64) - self.lengths
        self._paths = [folder / name for name in _FILES]

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self.lengths)

    def signature(self, num_rows: int | None, length: tuple[int, int] | None) -> tuple:
        """Returns the tf.TensorSpecs of what :meth:`read` returns; None for what may vary."""
        source_length, target_length = length or (None, None)
        target = tf.TensorSpec([num_rows, target_length], tf.int32)
        return (
            {"source": tf.TensorSpec([num_rows, source_length], tf.int32), "target": target},
            target,
            tf.TensorSpec([num_rows, target_length], tf.float32),
        )

    @classmethod
    def write(
        cls, folder: Path, batches: Iterable[tuple[tf.RaggedTensor, tf.RaggedTensor]]
    ) -> "PackedPairs":
        """Writes encoded pairs and opens them.

        Args:
          folder: see :func:`whole_folder`.
          batches: source and target ids, RaggedTensors int32[B, None], each row without the begin
            token and with the end token.

        Raises:
          ValueError: a batch has more rows of one side than of the other, or a row without an end.
        """
        all_lengths = [np.zeros((0, 2), np.int32)]
        with whole_folder(folder) as partial:
            with (
                open(partial / _FILES[0], "wb") as source,
                open(partial / _FILES[1], "wb") as target,
            ):
                for batch in batches:
                    lengths = []
                    for ids, file in zip(batch, (source, target), strict=True):
                        flat, ends = ids.flat_values.numpy(), ids.row_limits().numpy()
                        lengths.append(ids.row_lengths().numpy())
                        if not lengths[-1].all() or not (flat[ends - 1] == END_ID).all():
                            raise ValueError(f"every row must end with {END_ID}, got {ids}")
                        file.write(flat.astype(np.int32).tobytes())
                    all_lengths.append(np.stack(lengths, axis=1).astype(np.int32))
            # savez, because the error of np.save does not say that the disk is full.
            np.savez(partial / "rows.npz", lengths=np.concatenate(all_lengths))
        return cls(folder)

    def read(self, rows: np.ndarray, length: tuple[int, int], num_real: int | None = None) -> Batch:
        """Reads pairs as one padded batch, for a decoder that is told the right tokens.

        Args:
          rows: int[B] numbers of pairs.
          length: S and T. A longer source is cut and still ends with the end token; a longer target
            is cut and does not, since it does not end there.
          num_real: pairs after the first so many only fill up the batch: their weights are 0. None
            if all of them count.

        Returns:
          inputs, "source" int32[B, S] and "target" int32[B, T], which begins with the begin token;
          labels int32[B, T], the token after each of the target; weights float32[B, T], 1 where
          there is a label.
        """
        source_length, target_length = length
        source, _ = self._read_side(0, rows, source_length)
        is_cut = self.lengths[rows, 0] > source_length
        source[is_cut, -1] = END_ID
        labels, is_label = self._read_side(1, rows, target_length)
        target = np.full_like(labels, BEGIN_ID)
        target[:, 1:] = np.where(is_label[:, 1:], labels[:, :-1], PADDING_ID)
        weights = is_label.astype(np.float32)
        if num_real is not None:
            weights[num_real:] = 0.0
        return {"source": source, "target": target}, labels, weights

    def _read_side(
        self, side: int, rows: np.ndarray, length: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Returns the ids of one side, int32[B, length], and where they are, bool[B, length]."""
        lengths = np.minimum(self.lengths[rows, side], length)
        # Rows are far apart: a buffer would read kilobytes for each of them.
        with open(self._paths[side], "rb", buffering=0) as file:
            parts = []
            for start, size in zip(
                self._starts[rows, side].tolist(), lengths.tolist(), strict=True
            ):
                file.seek(start * _ID_BYTES)
                parts.append(file.read(size * _ID_BYTES))
        is_token = np.arange(length) < lengths[:, np.newaxis]
        ids = np.full(is_token.shape, PADDING_ID, np.int32)
        ids[is_token] = np.frombuffer(b"".join(parts), np.int32)
        return ids, is_token
