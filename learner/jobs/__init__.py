"""A process of Thaw's: what it may take of the machine, and who starts it."""
