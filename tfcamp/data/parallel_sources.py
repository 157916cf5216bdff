"""Sentence pairs by name or path: `load_parallel_dataset` is the one door.

Every file is read through once when it is opened, so that each bad row is named ``file:line``;
afterwards pairs are streamed from disk at each iteration, so that the memory does not depend on the
files. The file formats are described in `tfcamp.data.parallel_files`.
"""

import dataclasses
import difflib
import importlib.resources
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfcamp.data import reversal
from tfcamp.data.datasets.multi30k import upstream as multi30k
from tfcamp.data.datasets.tatoeba import upstream as tatoeba
from tfcamp.data.languages import choose_direction, language_code, languages_in_name
from tfcamp.data.parallel_files import (
    LONE_SUFFIXES,
    TAB_SUFFIX,
    PairFileName,
    PairFiles,
    find_pair_files,
)
from tfcamp.data.parallel_splits import (
    ParallelDataset,
    ParallelRow,
    ParallelSplit,
    build_dataset,
    count_chinese,
    cut_by_sentence,
    open_split,
)
from tfcamp.data.sources import DEV_STEMS, default_data_dir
from tfcamp.data.storage import bring_here
from tfcamp.data.text_files import format_of, split_name
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError

__all__ = ["ParallelDataset", "ParallelRow", "ParallelSplit", "load_parallel_dataset"]

KNOWN_DATASETS = ("sample", "multi30k", "tatoeba", "reverse")
DEFAULT_LANGUAGES = ("en", "zh")

# The languages of source and target as far as the user named them.
Asked = tuple[str | None, str | None]


def load_parallel_dataset(
    dataset: str,
    *,
    source_language: str | None = None,
    target_language: str | None = None,
    data_dir: Path | None,
    seed: int,
) -> ParallelDataset:
    """Opens a data set of sentence pairs.

    Args:
      dataset: one of

        - ``sample``: everyday sentences in English and Chinese that come with tfcamp;
        - ``multi30k``: German and English captions,
          ``DATA_DIR/multi30k/{train,val,test_2016_flickr}.{de,en}.gz``, downloaded if absent;
        - ``tatoeba``: short English and Chinese sentences, ``DATA_DIR/tatoeba/cmn.txt`` or
          ``cmn-eng.zip``, downloaded if absent;
        - ``reverse``: letters to be written backwards, drawn here;
        - a folder with train, dev (or val, valid, validation) and optionally test files, as
          ``train.en`` and ``train.zh`` or as ``train.tsv``;
        - one such .tsv file (or .txt, as Anki's are called), or two files of lines,
          ``corpus.en,corpus.zh``, which are cut 80/10/10 at random;
        - the name of a TFDS translation set, such as ``ted_hrlr_translate/pt_to_en``.

        A path is looked up from the working directory first, then in `data_dir`.
      source_language: code of the language to translate from. None for what the target language
        leaves over, or for the data set's first one. Where neither names nor headers tell
        languages, those of the columns or files in their order.
      target_language: likewise of the language to translate to.
      data_dir: the folder that holds data sets, one sub-folder each; None for `default_data_dir()`.
        Either may be in a bucket (`gs://…`): it is copied to this machine first.
      seed: what the random cut depends on.

    Returns:
      The data set; its `notes` are for the user to read.

    Raises:
      UserError: no such data set or language, no network, a file or a row that is not as expected.
    """
    asked = (source_language, target_language)
    if dataset == "reverse":
        return reversal.load_reversal(choose_direction(reversal.LANGUAGES, *asked, dataset))
    if dataset.count(",") == 1 and not Path(dataset).exists():
        paths = [_look_up(*bring_here(name, data_dir)) for name in dataset.split(",")]
        return _load_two_files(paths, asked, seed)
    dataset, data_dir = bring_here(dataset, data_dir)
    root = data_dir if data_dir is not None else default_data_dir()
    if dataset == "sample":
        folder = importlib.resources.files("tfcamp.data.samples") / "everyday_en_zh"
        return _load_folder(Path(str(folder)), "sample", asked)
    if dataset == "multi30k":
        return _load_multi30k(root / "multi30k", asked)
    if dataset == "tatoeba":
        return _load_tatoeba(root / "tatoeba", asked)
    path = _look_up(dataset, root)
    if path.is_file():
        return _load_tab_file(path, asked, seed)
    # A folder without any may be what TFDS has built of the set of this name.
    if not (path.is_dir() and find_pair_files(path)):
        # TFDS brings TensorFlow with it, which takes seconds that only its data sets need cost.
        from tfcamp.data.parallel_tfds import load_tfds_pairs

        found = load_tfds_pairs(dataset, root, *asked)
        if found is not None:
            return found
        if not path.is_dir():
            raise UserError(_unknown_dataset(dataset))
    return _load_folder(path, path.resolve().name, asked)


def _look_up(name: str, data_dir: Path | None) -> Path:
    """Returns the path of a name in the working directory, or else in the folder of data sets.

    Where there is none, it is the user's own, for the message.
    """
    path = Path(name).expanduser()
    elsewhere = (data_dir or default_data_dir()) / name
    return elsewhere if elsewhere.exists() and not path.exists() else path


def _load_multi30k(folder: Path, asked: Asked) -> ParallelDataset:
    """Opens the upstream files in a folder, fetching them first where they are not there."""
    if multi30k.local_files(folder) is None:
        multi30k.fetch(folder)
    train, dev, test = (
        PairFiles({language: folder / f"{stem}.{language}.gz" for language in multi30k.LANGUAGES})
        for stem in multi30k.SPLITS.values()
    )
    dataset = _open_files("multi30k", train, dev, test, multi30k.LANGUAGES, asked)
    found = (multi30k.difference(name, folder / name) for name in multi30k.FILES)
    differences = [difference for difference in found if difference is not None]
    if not differences:
        return dataset
    note = f"multi30k: not upstream's files: {'; '.join(differences)}; sha256 {dataset.sha256}"
    return dataclasses.replace(dataset, notes=(*dataset.notes, note))


def _load_tatoeba(folder: Path, asked: Asked) -> ParallelDataset:
    """Opens the archive or its text in a folder, fetching it first where it is not there."""
    path = tatoeba.local_file(folder)
    if path is None:
        tatoeba.fetch(folder)
        path = folder / tatoeba.ARCHIVE
    direction = choose_direction(tatoeba.LANGUAGES, *asked, "tatoeba")
    source, target = (tatoeba.LANGUAGES.index(language) for language in direction)

    def part(split: str) -> ParallelSplit:
        def rows() -> Iterator[ParallelRow]:
            pairs = tatoeba.read_split(path, split)
            return (ParallelRow(pair[source], pair[target]) for pair in pairs)

        return open_split(f"{path} ({split})", rows, direction)

    train, dev, test = (part(split) for split in ("train", "validation", "test"))
    sha256 = sha256_of([path])
    note = f"tatoeba: {path.name} is renewed now and then, and has no checksum; sha256 {sha256}"
    return build_dataset("tatoeba", direction, train, dev, test, sha256, [note])


def _load_folder(folder: Path, name: str, asked: Asked) -> ParallelDataset:
    """Opens the files of a folder by their names."""
    files = find_pair_files(folder)
    train, dev, test = (
        _only(stems, folder)
        for stems in (
            [stem for stem in files if stem == "train"],
            [stem for stem in files if stem in DEV_STEMS],
            # Multi30K's is test_2016_flickr.
            ["test"] if "test" in files else [stem for stem in files if stem.startswith("test")],
        )
    )
    if train is None or dev is None:
        raise UserError(
            f"{folder}: has no {'train' if train is None else 'dev'} file of sentence pairs; "
            f"expected train and dev (or {', '.join(DEV_STEMS[1:])}) and optionally test, as "
            f"train.en and train.zh or as train{TAB_SUFFIX}"
        )
    named = files[train].languages() or languages_in_name(folder.resolve().name)
    if named is not None and len(named) == 1:
        _name_other_suffixes(folder, train)
    languages, notes = _languages_or_default(named, asked, str(folder), files[train])
    parts = files[train], files[dev], None if test is None else files[test]
    return _open_files(name, *parts, languages, asked, notes)


def _open_files(
    name: str,
    train: PairFiles,
    dev: PairFiles,
    test: PairFiles | None,
    languages: Sequence[str],
    asked: Asked,
    notes: Sequence[str] = (),
) -> ParallelDataset:
    """Opens a data set whose splits are whole files."""
    direction = choose_direction(languages, *asked, name)
    paths: list[Path] = []

    def whole(files: PairFiles) -> ParallelSplit:
        opened = files.open(direction, languages)
        paths.extend(opened.paths)
        return open_split(opened.origin, opened.read, direction)

    splits = whole(train), whole(dev), None if test is None else whole(test)
    return build_dataset(name, direction, *splits, sha256_of(paths), notes)


def _load_tab_file(path: Path, asked: Asked, seed: int) -> ParallelDataset:
    """Cuts one file of two columns into the three splits."""
    if format_of(path) not in LONE_SUFFIXES:
        raise UserError(
            f"{path}: expected two columns in a file that ends in {' or '.join(LONE_SUFFIXES)}, or "
            "two files of lines, named as in corpus.en,corpus.zh"
        )
    name, _ = split_name(path)
    files = PairFiles({None: path})
    named = files.languages() or languages_in_name(name)
    languages, notes = _languages_or_default(named, asked, str(path), files)
    return _cut_files(name, files, languages, asked, seed, notes)


def _name_other_suffixes(folder: Path, stem: str) -> None:
    """Names the files beside one of a single language, if any could be its counterpart.

    Raises:
      UserError: there is one, whose suffix is no language's.
    """
    others = [
        path.name
        for path in sorted(folder.iterdir())
        if split_name(path)[0] == stem and PairFileName.of(path) is None and path.is_file()
    ]
    if others:
        raise UserError(
            f"{folder}: has {' and '.join(others)}, but no code of a language ends so; expected "
            f"one such as {stem}.zh for Chinese"
        )


def _load_two_files(paths: Sequence[Path], asked: Asked, seed: int) -> ParallelDataset:
    """Cuts two files of lines into the three splits."""
    names = [PairFileName.of(path) for path in paths]
    codes = {name.language for name in names if name is not None} - {None}
    named = tuple(str(name.language) for name in names if name) if len(codes) == 2 else None
    where = f"{paths[0]} and {paths[1].name}"
    by_default = PairFiles(dict(zip(DEFAULT_LANGUAGES, paths, strict=True)))
    languages, notes = _languages_or_default(named, asked, where, by_default)
    files = PairFiles(dict(zip(languages, paths, strict=True)))
    stem = names[0].stem if names[0] is not None else paths[0].stem
    return _cut_files(stem, files, languages, asked, seed, notes)


def _cut_files(
    name: str,
    files: PairFiles,
    languages: Sequence[str],
    asked: Asked,
    seed: int,
    notes: Sequence[str],
) -> ParallelDataset:
    """Cuts the pairs of one or two files into the three splits."""
    direction = choose_direction(languages, *asked, name)
    opened = files.open(direction, languages)
    whole = open_split(opened.origin, opened.read, direction)
    splits = cut_by_sentence(whole, seed)
    note = f"{opened.origin}: cut 80/10/10 into train, dev and test by sentence, seed {seed}"
    return build_dataset(name, direction, *splits, sha256_of(opened.paths), [*notes, note])


def _languages_or_default(
    named: Sequence[str] | None, asked: Asked, where: str, files: PairFiles
) -> tuple[Sequence[str], tuple[str, ...]]:
    """Returns the languages of columns or files, and a note where they are guessed.

    Args:
      named: what headers and names say.
      asked: what the user says, in the order of the columns where nothing else names them.
      where: the data set, for messages.
      files: of the training split, which tell whether a guess can be right.

    Raises:
      UserError: the user names one language only, or none that exists, or none where the first
        pairs have no Chinese.
    """
    if named is not None:
        return named, ()
    if asked == (None, None):
        first, second = DEFAULT_LANGUAGES
        if not any(count_chinese(files.open(DEFAULT_LANGUAGES, DEFAULT_LANGUAGES).read())):
            raise UserError(
                f"{where}: nothing names its languages, and none of the first sentences has a "
                "Chinese character: give --source and --target, such as --source de --target en"
            )
        told = f"the first sentence of each pair is taken for {first}, the second for {second}"
        return DEFAULT_LANGUAGES, (f"{where}: nothing names its languages; {told}",)
    codes = []
    for option, language in zip(("--source", "--target"), asked, strict=True):
        code = None if language is None else language_code(language)
        if code is None:
            got = "is missing" if language is None else f"is {language!r}"
            raise UserError(
                f"{where}: nothing names its languages, and {option} {got}; expected a code such "
                "as de, en or zh"
            )
        codes.append(code)
    return codes, ()


def _only(stems: list[str], folder: Path) -> str | None:
    """Returns the one stem, or None where there is none."""
    if len(stems) > 1:
        raise UserError(f"{folder}: has {' and '.join(stems)} files for one split; expected one")
    return stems[0] if stems else None


def _unknown_dataset(dataset: str) -> str:
    """Says that there is no such data set, and what may have been meant."""
    close = difflib.get_close_matches(dataset, KNOWN_DATASETS, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return (
        f"{dataset}: no such file, folder or translation set: {hint}expected "
        f"{', '.join(KNOWN_DATASETS)}, a path, or TFDS's name of a set such as "
        "ted_hrlr_translate/pt_to_en"
    )
