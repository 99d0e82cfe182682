"""Metric models, and scores of images, captions and sets of images."""
