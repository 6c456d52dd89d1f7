"""What the CNN-LSTM is compared with: the paper's baselines, and the systems that it builds on."""
