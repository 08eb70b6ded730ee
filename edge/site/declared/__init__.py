"""What the public pages are written from: the API as data, and templates. Nothing that runs loads it."""
