"""Files of any store as the ends of a copy: found, read ahead, written whole, one or a set of them."""
