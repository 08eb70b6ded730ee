"""The ledger's verbs: what is asked, and what is answered."""
