"""Prompts that no two parts of an analysis share."""

import pytest

from gad.config import PromptsConfig
from gad.config.sample_ids import SEEDS
from gad.data.prompts import different_prompts, prompt_of


def test_different_prompts_are_the_first_that_differ_and_no_more_than_there_are(tmp_path):
    found = different_prompts(SEEDS, 200)
    assert len(set(found)) == 200 and found[0] == prompt_of([SEEDS])[0]
    assert len(set(prompt_of(range(SEEDS, SEEDS + 200)))) < 200  # captions come again
    (tmp_path / "few.txt").write_text("a\nb\nc\n")
    source = PromptsConfig(file=str(tmp_path / "few.txt"))
    assert sorted(different_prompts(SEEDS, 3, source)) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="3 different prompts are too few for 4"):
        different_prompts(SEEDS, 4, source)
