"""What was found: statistics, ratings, tables, plots and the page."""
