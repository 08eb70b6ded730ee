"""HTTP below the routes: bounded connections, exchanges, bodies."""
