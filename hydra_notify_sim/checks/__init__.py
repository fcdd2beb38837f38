"""Floor 3: history in, verdicts out, with the records that prove each. Pure: no database, no clock."""
