"""Text files from outside, read as UTF-8 whatever the locale says."""

import re
from pathlib import Path

MARK = "\ufeff"  # a byte order mark; files that were put together hold some in the middle
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
NO_TEXT = {  # what is often saved under the name of a file that it only stands for
    "version https://git-lfs.github.com/spec/": "a Git LFS pointer; fetch the file itself: git lfs pull",
    "<!doctype html": "a web page; download the file itself",
    "<html": "a web page; download the file itself",
}


def read_text_file(path: Path, what: str = "file") -> str:
    """The text of a UTF-8 file, without byte order marks at the beginning of a line.

    Raises ValueError, in one line that begins with ``what`` and names file and line, for another encoding, a binary
    file, a Git LFS pointer or a web page; OSError for a file that the system does not give.
    """
    data = Path(path).read_bytes()
    if data.startswith(UTF_16):
        raise ValueError(f"{what} {path} is UTF-16; save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = f"{what} {path}, line {_line_at(data[: error.start].decode())}"
        raise ValueError(f"{place}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8") from error
    if "\0" in text:
        raise ValueError(f"{what} {path}, line {_line_at(text.partition(chr(0))[0])}: a zero byte; this is no text")
    text = re.sub(rf"(^|[\r\n]){MARK}+", r"\1", text)
    stands_for = next((is_ for start, is_ in NO_TEXT.items() if text.lstrip()[:99].lower().startswith(start)), None)
    if stands_for:
        raise ValueError(f"{what} {path} is {stands_for}")
    return text


def lines_of_text(text: str) -> list[str]:
    """The lines of a text. Only line breaks part them: ``splitlines`` takes U+2028, NEL and form feeds for some."""
    return re.split(r"\r\n|\r|\n", text)


def _line_at(before: str) -> int:
    return len(lines_of_text(before))
