"""The guarded connection to NATS, and the server that `tokn up` starts."""
