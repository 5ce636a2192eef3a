"""Settings and deployment files; imports nothing else of Kairos."""
