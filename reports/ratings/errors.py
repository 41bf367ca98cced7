"""What can be wrong with votes, one class a failure; all of them are one line for the user."""

from bench.errors import UserError


class VotesError(UserError):
    """The table of votes cannot be read: a missing column, an unknown answer, a name twice."""


class NoVotesError(VotesError):
    """No vote is left that prefers one of two variants or calls them equal."""


class DisconnectedError(VotesError):
    """Variants fall into groups that were never compared, not even through others."""


class UnboundedError(VotesError):
    """Without ghost votes no finite rating exists, since some variants never lost or never won."""


class ConvergenceError(ArithmeticError):
    """A fit did not settle; it says after how many steps and by how much it still moved."""
