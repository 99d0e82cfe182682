"""Where a noun stands in a prompt: one rule for box files and for attention."""

import re


def noun_places(noun: str, prompt: str) -> list[tuple[int, int]]:
    """First and last letter of each place where the prompt holds the noun as words of its own, in any case, also as a
    plural (cats, boxes, berries); commas and full stops part words, spaces and underscores are one."""
    words = r"[\s_]+".join(map(re.escape, re.split(r"[\s_]+", noun.strip())))
    ends = rf"{words}(s|es)?" if not words.lower().endswith("y") else rf"({words}s?|{words[:-1]}ies)"
    return [match.span() for match in re.finditer(rf"\b{ends}\b", prompt, re.IGNORECASE)] if words else []
