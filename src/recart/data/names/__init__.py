"""Names of genes and proteins: shipped tables, and how names of other annotations are met."""
