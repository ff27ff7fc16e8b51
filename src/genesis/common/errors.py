"""Errors that a user can mend."""


class UserError(Exception):
    """Bad input, told in one message: where it is, what was expected and what to do.

    Entry points print it without a traceback and exit with code 1; everything else is a bug and keeps its traceback.
    """


class BudgetError(Exception):
    """A budget cap was reached; entry points print it and exit with code 3."""
