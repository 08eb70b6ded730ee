"""Payments through Stripe: what Stripe is asked, what it tells, and what that does to the books."""
