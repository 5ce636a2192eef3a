"""The event contract, the feature definitions, and the only code that reads or writes Feast."""
