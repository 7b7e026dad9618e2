"""Events, plans and results as a person or a program reads them."""
