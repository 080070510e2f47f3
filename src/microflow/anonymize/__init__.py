"""k-anonymity, local differential privacy and tokenization on one contract."""
