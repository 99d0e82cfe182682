"""Training is logged wherever it runs."""

import subprocess

from gad.distillation.training_log import _live_metrics


def test_a_git_repository_without_a_commit_costs_the_live_metrics_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    with _live_metrics(tmp_path / "live") as log:
        assert log is None
    told = capsys.readouterr().err
    assert told.startswith(f"no live metrics in {tmp_path / 'live'}: ") and told.count("\n") == 1
