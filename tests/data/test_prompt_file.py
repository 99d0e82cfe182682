"""Files of prompts, as people save them: what is read as it was meant, and what is refused in one line."""

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from gad.data.prompt_file import read_prompts
from gad.evaluation.control.prompts import control_prompts

MARK = "\ufeff".encode()
READ = {
    "byte order mark": ("a.txt", MARK + b"a cat\na dog\n", ["a cat", "a dog"]),
    "two marked files put together": ("a.txt", MARK + b"a cat\n" + MARK + b"a dog", ["a cat", "a dog"]),
    "U+2028": ("a.txt", "a cat\u2028asleep\na dog".encode(), ["a cat\u2028asleep", "a dog"]),
    "NEL": ("a.txt", "a cat\u0085asleep\na dog".encode(), ["a cat\u0085asleep", "a dog"]),
    "form feed": ("a.txt", b"a cat\x0casleep\na dog", ["a cat\x0casleep", "a dog"]),
    "CRLF": ("a.txt", b"a cat\r\na dog\r\n", ["a cat", "a dog"]),
    "old Mac line breaks": ("a.txt", b"a cat\ra dog", ["a cat", "a dog"]),
    "empty lines": ("a.txt", b"\n\na cat\n \na dog", ["a cat", "a dog"]),
    "table with a mark and CRLF": ("a.csv", MARK + b"prompt,n\r\na cat,1\r\na dog,2\r\n", ["a cat", "a dog"]),
    "quoted comma and U+2028": ("a.csv", 'n,prompt\n1,"a cat, \u2028asleep"\n'.encode(), ["a cat, \u2028asleep"]),
    "the word NA": ("a.csv", b"prompt\nNA\nnull\n", ["NA", "null"]),
}
WEB = b'<!DOCTYPE html>\n<html lang="en">\n'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"
REFUSED = {
    "Latin-1": ("a.txt", b"a cat\na caf\xe9\n", r"a\.txt, line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    "Latin-1 table": ("a.csv", b"prompt\na\nb\nb\xff\n", r"a\.csv, line 4: byte 0xff is not UTF-8"),
    "UTF-16": ("a.txt", "a cat".encode("utf-16"), r"a\.txt is UTF-16; save it as UTF-8"),
    "binary": ("a.txt", b"a\nPK\x03\x04\0\0", r"a\.txt, line 2: a zero byte; this is no text"),
    "LFS pointer": ("a.txt", POINTER, r"a\.txt is a Git LFS pointer; fetch the file itself: git lfs pull"),
    "web page": ("a.csv", WEB, r"a\.csv is a web page; download the file itself"),
    "empty": ("a.txt", b"", r"a\.txt holds no prompts"),
    "comma too many in every row": (
        "a.csv",
        b"prompt\na cat, asleep\na dog, awake\n",
        r"a\.csv, line 2: 2 fields where the head has 1; put quotes around a prompt with commas",
    ),
    "short row": ("a.csv", b"n,prompt\n1,a cat\n2\n", r"a\.csv, line 3: 1 fields where the head has 2"),
    "open quote": ("a.csv", b'prompt\n"a cat\na dog\n', r"a\.csv, line 3: no table, unexpected end of data"),
    "column twice": ("a.csv", b"prompt,prompt\na,b\n", r"a\.csv has more than one column 'prompt'"),
    "no column": ("a.csv", b"caption\na cat\n", r"a\.csv has no column 'prompt'; it has caption"),
    "no Parquet": ("a.parquet", b"prompt\na cat\n", r"a\.parquet is no table: "),
    "JSON lines": ("a.jsonl", b'{"prompt": "a cat"}\n', r"a\.jsonl: give a \.txt, a \.csv or a \.parquet"),
}


@pytest.mark.parametrize("case", READ)
def test_a_prompt_file_is_read_as_it_was_meant(tmp_path, case):
    name, content, prompts = READ[case]
    (tmp_path / name).write_bytes(content)
    assert read_prompts(tmp_path / name) == prompts


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_prompt_file_is_one_line_that_names_it(tmp_path, case):
    name, content, message = REFUSED[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^prompt file {tmp_path}/{message}") as caught:
        read_prompts(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_parquet_column_of_lists_or_numbers_is_refused(tmp_path):
    for column, kind in (([["a cat", "a dog"]], "list<.*string>"), ([1.5], "double")):
        pq.write_table(pa.table({"prompt": column}), tmp_path / "a.parquet")
        with pytest.raises(ValueError, match=rf"a\.parquet: column 'prompt' holds {kind}, not text"):
            read_prompts(tmp_path / "a.parquet")
    pd.DataFrame({"prompt": pd.Categorical(["a cat", None, "a dog", "a cat"])}).to_parquet(tmp_path / "a.parquet")
    assert read_prompts(tmp_path / "a.parquet") == ["a cat", "a dog", "a cat"]


def test_a_prompt_that_comes_again_counts_once(tmp_path):
    (tmp_path / "a.txt").write_text("a cat\na dog\na cat\na bird\n")
    assert control_prompts(3, str(tmp_path / "a.txt")).captions == ["a cat", "a dog", "a bird"]
    with pytest.raises(ValueError, match=r"a\.txt holds 3 prompts \(1 come again\), 4 are asked for"):
        control_prompts(4, str(tmp_path / "a.txt"))


def test_prompts_in_a_home_folder_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.txt").write_text("a cat\n")
    assert control_prompts(1, "~/mine.txt").captions == ["a cat"]
    with pytest.raises(ValueError, match="^cannot find the home folder in the path ~nobody_at_all/a.txt"):
        control_prompts(1, "~nobody_at_all/a.txt")
