"""Typed tables of the paths, parameters and privileges that the node knows."""
