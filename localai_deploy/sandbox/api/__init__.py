"""One module per area of the API: handlers that answer verified calls."""
