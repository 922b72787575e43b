"""A node as its own kernel shows it, and what speaks against passing one of its cards through."""
