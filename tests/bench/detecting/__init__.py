"""What `./dev bench detection` compares, on which windows, and how it judges."""
