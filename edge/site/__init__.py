"""The edge's public pages: `declared` writes them, `compiled` has them as they are served."""
