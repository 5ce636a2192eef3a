"""Where the feature expressions run in batch. Every engine gives the same rows for the same lake and moment."""
