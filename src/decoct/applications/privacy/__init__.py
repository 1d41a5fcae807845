"""Privacy: who was in the training data, which images are copies, and what noise buys."""
