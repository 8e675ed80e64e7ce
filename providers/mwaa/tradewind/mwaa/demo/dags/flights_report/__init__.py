"""A report on delayed flights: facts from the warehouse, drawn as one HTML page."""
