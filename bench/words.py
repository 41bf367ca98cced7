"""Numbers in sentences."""


def count(number: int, thing: str) -> str:
    """So many things.

    Example:
        >>> count(1, "cell"), count(0, "cell")
        ('1 cell', '0 cells')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def are(number: int) -> str:
    """The verb of so many things."""
    return "is" if number == 1 else "are"
