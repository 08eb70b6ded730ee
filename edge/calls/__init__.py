"""The life of a call at an edge: offers, frames, the answer, the end."""
