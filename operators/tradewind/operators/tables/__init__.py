"""Tables of any database as the end of a copy: one transaction for the rows, the checks and the ledger entry."""
