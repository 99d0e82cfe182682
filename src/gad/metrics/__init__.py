"""Evaluators trained on rendered truth, and scores of images, captions and sets of images."""
