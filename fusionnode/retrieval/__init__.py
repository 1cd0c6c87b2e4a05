"""Asking an archive for studies: what it has, and a copy of it, checked for completeness (edge)."""
