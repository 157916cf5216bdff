"""The news competition of Alibaba's Tianchi: articles as anonymised ids, 14 classes.

https://tianchi.aliyun.com/competition/entrance/531810, "零基础入门NLP - 新闻文本分类":
train_set.csv has 200,000 labelled articles, test_a.csv 50,000 unlabelled ones; the measure is
macro-F1.
"""

import shlex
from collections.abc import Iterable
from pathlib import Path

from tfcamp.data.text_files import read_lines, read_tab_separated
from tfcamp.data.text_splits import (
    ClassList,
    TextDataset,
    cut_splits,
    held_out_split,
    sha256_of,
    training_split,
)
from tfcamp.errors import UserError

HOMEPAGE = "https://tianchi.aliyun.com/competition/entrance/531810"
NAME = "tianchi_news"
TRAIN_FILE = "train_set.csv"
CLASSES = (
    *("科技", "股票", "体育", "娱乐", "时政", "社会", "教育"),
    *("财经", "家居", "游戏", "房产", "时尚", "彩票", "星座"),
)


def load_tianchi_news(folder: Path, *, seed: int) -> TextDataset:
    """Loads the competition's files as they are shipped, unpacked.

    Both end in .csv and are tab-separated under a header: ``label<TAB>text``, and ``text`` alone in
    the optional test_a.csv, whose labels are None. A tenth of each class of train_set.csv is the
    validation split. The texts are ids separated by spaces, hence pretokenized.

    Raises:
      UserError: train_set.csv is missing, or a row is broken (file:line).
    """
    train_path, test_path = folder / TRAIN_FILE, folder / "test_a.csv"
    if not train_path.is_file():
        raise UserError(
            f"{train_path}: no such file; download {TRAIN_FILE} (and test_a.csv) from {HOMEPAGE}, "
            "which asks you to sign in, and unpack them there"
        )
    classes = ClassList(CLASSES, "the competition's list", with_ids=True)
    whole, _ = training_split(train_path, read_tab_separated, classes)
    train, dev = cut_splits(whole, (9, 1), seed)
    test, paths = None, [train_path]
    if test_path.is_file():
        test = held_out_split(test_path, read_tab_separated, classes, train, labelled=False)
        paths.append(test_path)
    return TextDataset(
        name=NAME,
        classes=CLASSES,
        train=train,
        dev=dev,
        test=test,
        sha256=sha256_of(paths),
        notes=(f"{train_path}: cut 90/10 into train and dev, by class and text, seed {seed}",),
        pretokenized=True,
    )


def refuse_path(path: Path) -> None:
    """Says by which name the competition's data are opened, if these are they.

    Args:
      path: the file of training rows, or its folder.

    Raises:
      UserError: they are.
    """
    file = path / TRAIN_FILE if path.is_dir() else path
    # A file of the same name may also be cut by commas.
    if file.name != TRAIN_FILE or not file.is_file() or "\t" not in next(read_lines(file), ""):
        return
    folder = file.resolve().parent
    rename = "" if folder.name == NAME else f"call its folder {NAME}, and "
    raise UserError(
        f"{path}: is the data of Tianchi's competition, which train.py and evaluate.py open by "
        f"name: {rename}give them --dataset {NAME} --data-dir {shlex.quote(str(folder.parent))}"
    )


def write_submission(path: Path, labels: Iterable[int]) -> None:
    """Writes the file that the competition takes: the header ``label``, then one class id a line.

    Args:
      path: the file to write.
      labels: class id in [0, 14) of each row of test_a.csv, in its order.

    Raises:
      ValueError: a label is no class id; nothing is written then.
    """
    ids = [int(label) for label in labels]
    for number in ids:
        if not 0 <= number < len(CLASSES):
            raise ValueError(f"labels must be in [0, {len(CLASSES)}), got {number}")
    path.write_text("".join(f"{line}\n" for line in ("label", *ids)), encoding="utf-8")
