"""Settings tables that several packages read, and their common base. Pydantic only."""
