"""The views of the Data page: adding, pictures, checks, split, data card, versions."""
