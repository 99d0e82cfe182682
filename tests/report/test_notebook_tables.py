"""Tables over seeds, and figures that a recipe does not measure."""

import pandas as pd

from gad.report import figures, notebook_tables
from gad.report.notebook_tables import (
    captioned_notebook_table,
    notebook_seed_summary,
    notebook_summary_columns,
    show_notebook_summary,
)

TABLE = pd.DataFrame(
    {"variant": ["gad", "gad", "teacher"], "seed": [0, 1, 0], "cosine": [0.4, 0.6, 1.0], "error": [0.1, 0.3, None]}
)


def test_a_cell_is_the_mean_over_seeds_with_its_interval_and_models_stand_in_their_order():
    found = notebook_seed_summary(TABLE, {"cosine": "cosine ↑", "error": "error ↓", "absent": "absent"})
    assert found.columns.tolist() == ["model", "seeds", "cosine ↑", "error ↓"]
    assert found["model"].tolist() == ["teacher", "gad"] and found["seeds"].tolist() == [1, 2]
    assert found["cosine ↑"].tolist()[0] == "1" and found["cosine ↑"].tolist()[1].startswith("0.5 [-0.77")
    assert found["error ↓"].tolist()[0] == ""


def test_a_table_can_have_a_row_per_number_or_per_kind(monkeypatch):
    shown = []
    monkeypatch.setattr(notebook_tables, "display", shown.append)
    show_notebook_summary(TABLE, {"cosine": "cosine ↑"}, "ours", models_across=True)
    assert shown[0].data.columns.tolist() == ["", "teacher", "gad"] and shown[0].caption.startswith("ours: mean over")
    by_kind = notebook_seed_summary(TABLE.assign(kind="isotropic"), {"cosine": "cosine ↑"}, by=["kind"])
    assert by_kind["kind"].tolist() == ["isotropic"] * 2


def test_what_is_not_measured_is_not_shown(monkeypatch):
    monkeypatch.setattr(notebook_tables, "display", None)  # a call would fail
    show_notebook_summary(pd.DataFrame(), {"cosine": "cosine ↑"})
    show_notebook_summary(TABLE, notebook_summary_columns(TABLE, "query_"))
    assert figures.seed_bars(pd.DataFrame(), num_seeds=0) is None
    assert figures.image_grid(rows={}, captions=[]) is None
    assert figures.metric_bars(TABLE, {"absent": "absent"}) is None


def test_a_caption_stands_above_its_table():
    assert "caption-side: top" in captioned_notebook_table(TABLE, "n = 2").to_html()
