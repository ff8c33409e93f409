"""Studies: variants of a recipe × seeds × folds that answer one question, with a paired analysis. Needs no torch."""
