"""The messages on the bus, apart from the ledger's verbs: subjects, frames, usage events."""
