"""The routes: what each path answers."""
