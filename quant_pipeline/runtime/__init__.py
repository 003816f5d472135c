"""What keeps processes going: embedded PostgreSQL, Dagster storage and launcher, child processes. No trading logic."""
