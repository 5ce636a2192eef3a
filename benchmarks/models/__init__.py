"""What the models reach on public data, beside what papers say of it."""
