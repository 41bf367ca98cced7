"""What is compared: the names of variants, the paper's tables, the A/B arena."""
