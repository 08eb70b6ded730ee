"""What a commit does to the books: pure, no I/O."""
