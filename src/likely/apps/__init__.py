"""Applications: a recipe and one module each."""
