"""Galleries of a recipe without images."""

import pytest

from gad.evaluation.control import galleries
from gad.models.stage import Stage


@pytest.mark.parametrize("name", ["layout", "retrieval", "request", "optimisation", "composition"])
def test_2d_samples_have_no_gallery(smoke, point_teacher, name):
    stage = Stage("control", "smoke", smoke, point_teacher, [], [])
    gallery = getattr(galleries, f"{name}_gallery")(stage, [])
    assert not any(gallery.values()) and next(iter(gallery)) in ("rows", "strips")
