"""How the votes' database came to be what it is, step by step (alembic)."""
