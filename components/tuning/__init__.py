"""How to merge them: the method's controls, the recipe, and how each edit changes it."""
