"""Held-out rendered scenes and the committed judges."""

import pytest

from gad.data.emoji.clip import load_clip
from gad.data.emoji.detector import load_detector
from gad.data.emoji.validation import held_out
from gad.runtime.paths import EMOJI


@pytest.fixture(scope="session")
def truth():
    """128 scenes that no judge learnt from, and their images."""
    return held_out(128)


@pytest.fixture(scope="session")
def detector():
    return load_detector(EMOJI / "judges" / "detector")


@pytest.fixture(scope="session")
def clip():
    return load_clip(EMOJI / "judges" / "clip")
