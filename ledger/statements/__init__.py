"""Monthly statements of organisations: what a month did to their accounts, and how it is issued for good."""
