"""The kinds of direction in the metrics of `sensitivity`: which there are, and how they are shown."""

WITHOUT_DIRECTION = ("pointwise_mse", "map_error_median")  # of the outputs alone


def direction_kinds(sensitivity: dict) -> list[str]:
    """The groups of the metrics of `sensitivity` that are kinds of directions: those with a row of Table 1.

    Others, such as noise levels and spectra, stand beside them with metrics of their own.
    """
    named = {kind: variants for kind, variants in sensitivity.items() if not kind.endswith("_minus_baseline")}
    return [kind for kind, group in named.items() if group and all("jvp_cosine" in values for values in group.values())]


def direction_kind_title(kind: str) -> str:
    """How a kind of direction, "low_frequency, h = 0.5", is shown."""
    directions, *step = kind.replace("_", "-").split(", ")
    return ", ".join([f"{directions} directions", *step])


def direction_kinds_read(metric: str, kinds: list[str]) -> list[str]:
    """The kinds of direction at which a metric is read: the first where it is the same for every kind."""
    return kinds[:1] if metric in WITHOUT_DIRECTION else kinds
