"""The life of a call at a worker: accounts, tries, frames, the bill."""
