"""Measuring one video; usable alone, knows nothing of studies."""
