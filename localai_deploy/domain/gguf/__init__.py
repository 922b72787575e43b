"""GGUF model files: the header's metadata and tensor table, read without the weights."""
