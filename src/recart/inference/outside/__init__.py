"""A finished model on patients of another place whose outcome is known: nothing is fitted."""
