"""What makes data and checks it, beside the services: nothing that runs imports it."""
