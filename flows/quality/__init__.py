"""What the features' own values should look like, and what happens when they don't."""
