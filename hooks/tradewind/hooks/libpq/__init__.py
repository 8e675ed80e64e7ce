"""What speaks to a server through libpq: sessions that can be interrupted, options, errors, names."""
