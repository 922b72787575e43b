"""The command line; the only importer of click and the progress library."""
