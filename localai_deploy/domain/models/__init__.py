"""Models by short names: which file of which repository a person means."""
