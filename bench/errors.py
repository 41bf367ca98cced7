"""Errors that a user can mend."""


class UserError(ValueError):
    """Wrong input, told in one line: which key, file or variant, and what would be accepted."""
