"""Owns the two ways in which a command fails that are not usage or configuration."""


class NoLedgerError(Exception):
    """No ledger answers: exit code 4."""


class RefusedError(Exception):
    """The ledger's answer is no: exit code 1."""


class UnknownError(NoLedgerError):
    """An act was asked for, and nobody says whether it was done: exit code 4."""
