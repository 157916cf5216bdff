"""Writes archives as SVHN's: made-up images and a digitStruct.mat as MATLAB lays it out."""

import io
import tarfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

Boxes = list[tuple[int, int, int, int]]


def digit_struct(rows: list[tuple[str, list[int], Boxes]]) -> bytes:
    """The MATLAB file of rows of name, labels (10 is the digit 0) and left, top, width, height."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        struct = file.create_group("digitStruct")
        names = struct.create_dataset("name", (len(rows), 1), h5py.ref_dtype)
        groups = struct.create_dataset("bbox", (len(rows), 1), h5py.ref_dtype)
        count = 0

        def refer(value: np.ndarray) -> h5py.Reference:
            nonlocal count
            count += 1
            return file.create_dataset(f"#refs#/{count}", data=value).ref

        for position, (name, labels, boxes) in enumerate(rows):
            names[position, 0] = refer(np.array([[ord(letter)] for letter in name], np.uint16))
            group = file.create_group(f"#refs#/group{position}")
            columns = {"label": labels}
            columns |= {
                key: [box[place] for box in boxes]
                for place, key in enumerate(("left", "top", "width", "height"))
            }
            for key, values in columns.items():
                if len(values) == 1:
                    group[key] = np.array([[float(values[0])]])
                    continue
                column = group.create_dataset(key, (len(values), 1), h5py.ref_dtype)
                for digit, value in enumerate(values):
                    column[digit, 0] = refer(np.array([[float(value)]]))
            groups[position, 0] = group.ref
    return content.getvalue()


def png(position: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30 + position, 20), (position * 40 % 256, 90, 120)).save(file, "PNG")
    return file.getvalue()


def put_archive(
    path: Path, numbers: list[str], *, digits: bytes | None = None, missing: int | None = None
) -> None:
    """Writes an archive of made-up photographs ``1.png``, ``2.png`` and so on."""
    rows = [
        (
            f"{position}.png",
            [int(digit) or 10 for digit in number],
            [(8 * place - 1, 2, 8, 15) for place in range(len(number))],
        )
        for position, number in enumerate(numbers, start=1)
    ]
    split = path.name.partition(".")[0]
    members = {
        f"{split}/{position}.png": png(position)
        for position in range(1, len(numbers) + 1)
        if position != missing
    }
    members[f"{split}/digitStruct.mat"] = digit_struct(rows) if digits is None else digits
    members[f"{split}/see_bboxes.m"] = b"% shows the boxes"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
