"""Validation prompts are nobody else's."""

import pytest

from gad.config import PromptsConfig
from gad.config.sample_ids import ANALYSIS, SEEDS
from gad.data.prompts import prompt_of
from gad.data.validation_prompts import validation_prompts


@pytest.fixture
def pairs(smoke):
    def pairs(**changes):
        return smoke.noise_pairs.model_copy(update=changes)

    return pairs


def test_captions_are_different_and_belong_to_no_pair_and_no_analysis(pairs):
    found = validation_prompts(32, pairs(num_pairs=512))
    taken = {caption for ids in (range(512), range(ANALYSIS, ANALYSIS + 64), range(SEEDS, SEEDS + 64))
             for caption in prompt_of(ids)}  # fmt: skip
    assert len(set(found.captions)) == 32 and not taken & set(found.captions)
    assert [scene.caption for scene in found.scenes] == found.captions


def test_fewer_captions_are_the_first_of_more(pairs):
    assert validation_prompts(4, pairs()).captions == validation_prompts(8, pairs()).captions[:4]


def test_a_file_gives_what_neither_pairs_nor_analyses_take_and_no_scenes(pairs, tmp_path):
    (tmp_path / "prompts.txt").write_text("\n".join(f"prompt {i}" for i in range(1100)))
    source = PromptsConfig(file=str(tmp_path / "prompts.txt"))
    found = validation_prompts(20, pairs(num_pairs=64, prompts=source))
    assert found.captions == [f"prompt {i}" for i in range(64, 84)] and found.scenes is None


def test_a_file_that_is_used_up_is_refused_in_one_line(pairs, tmp_path):
    (tmp_path / "few.txt").write_text("\n".join(f"prompt {i}" for i in range(1066)))
    source = PromptsConfig(file=str(tmp_path / "few.txt"))
    with pytest.raises(ValueError, match="^validation needs 4 prompts that no noise pair and no analysis has, 2 are"):
        validation_prompts(4, pairs(num_pairs=64, prompts=source))
