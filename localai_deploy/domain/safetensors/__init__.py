"""Safetensors model files: the tensor table, read without the weights."""
