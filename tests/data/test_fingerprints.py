"""Fingerprints against sets of the rows themselves."""

from hypothesis import given
from hypothesis import strategies as st

from tfcamp.data.fingerprints import Fingerprints, fingerprint, letters_of, seeded_fingerprint

rows_of_a_split = st.lists(st.sampled_from([b"a", b"b", b"c", b"ab", b""]), max_size=12)


def fingerprints_of(rows: list[bytes]) -> Fingerprints:
    found = Fingerprints()
    for row in rows:
        found.add(row)
    return found


@given(rows_of_a_split, rows_of_a_split)
def test_repeated_and_shared_rows(rows: list[bytes], others: list[bytes]) -> None:
    found = fingerprints_of(rows)
    assert found.num_repeated() == len(rows) - len(set(rows))
    assert found.are_in(fingerprints_of(others)).tolist() == [row in others for row in rows]


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(-1, 2)), max_size=12))
def test_rows_with_several_values(labelled: list[tuple[bytes, int]]) -> None:
    expected = [
        len({value for other, value in labelled if other == row}) > 1 for row, _ in labelled
    ]
    found = fingerprints_of([row for row, _ in labelled])
    assert found.with_several([value for _, value in labelled]).tolist() == expected


def test_a_fingerprint_never_changes() -> None:
    """The splits of tatoeba are drawn by it."""
    assert fingerprint(b"") == 0xE4A6A0577479B2B4
    assert seeded_fingerprint("水壶烧着呢") == 1583261705175604174


def test_letters_of_other_scripts_stay() -> None:
    assert letters_of("《ＡＩ》时代，来了！ Ⅳ") == "ai时代来了iv"
    assert letters_of("……") == ""
