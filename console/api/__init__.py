"""The admin API: one file a kind of thing, each with its routes and what they read and write."""
