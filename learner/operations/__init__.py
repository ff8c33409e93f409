"""Running Thaw for others: backup and restore, what the doctor looks at, figures for monitoring."""
