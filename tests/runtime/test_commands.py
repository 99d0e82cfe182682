"""The command's words become its script's."""

import pytest

from gad.runtime.commands import gad_command_arguments, gad_command_parser
from gad.runtime.paths import ROOT


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("run student --recipe smoke --variant gad", "student --recipe smoke --variant gad"),
        ("doctor smoke", "smoke"),
        ("sweep weight window --jobs 2 --quick", "weight window --jobs 2 --quick"),
        ("publish --recipe compact_tdm --variant gad --seed 0", "--recipe compact_tdm --variant gad --seed 0"),
    ],
)
def test_words_are_handed_over(words, given):
    assert gad_command_arguments(gad_command_parser().parse_args(words.split())) == given.split()


def test_a_published_student_has_a_recipe_and_a_variant(capsys):
    with pytest.raises(SystemExit):
        gad_command_parser().parse_args(["publish", "--recipe", "compact_tdm"])
    assert "--variant" in capsys.readouterr().err


def test_a_shell_completes_recipes_and_variants(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        gad_command_parser().parse_args(["--print-completion", "bash"])
    script = capsys.readouterr().out
    assert "gad_publish" in script and "compact_tdm" in script and "pointwise_anchor" in script
