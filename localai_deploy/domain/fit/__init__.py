"""What a model needs on which device before anything is loaded: weights, caches, buffers."""
