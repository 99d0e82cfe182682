"""What several test modules share by name."""

PROMPTS = ["a red car on a white background", "two Dogs on a cyan background"]
