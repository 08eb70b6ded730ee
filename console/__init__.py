"""The console: pages and an API for the people who run a deployment. It has no authority, and no database."""
