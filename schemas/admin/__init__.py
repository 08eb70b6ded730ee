"""What the admin API and the console say to a ledger, and what they show: one file a kind of thing."""
