"""What can go wrong while measuring, and who can mend it."""


class MetricError(Exception):
    """A metric could not be measured; the score is a row with this status and the message."""

    status = "failed"


class Unavailable(MetricError):
    """Something outside the video is missing: a weight file, a prompt, a package."""

    status = "unavailable"


class Undefined(MetricError):
    """The video has no such thing: too few frames, nobody in it."""

    status = "undefined"


class UserError(ValueError):
    """Wrong input, told in one line: which key or file, and what would be accepted."""
