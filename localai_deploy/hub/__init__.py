"""The model hub and other sources of models: what a reference stands for."""
