"""HTTP to upstreams, and the events of their streams."""
