"""The online stores: Redis in production, SQLite on one machine, one interface (`base`) and one rule of who wins."""
