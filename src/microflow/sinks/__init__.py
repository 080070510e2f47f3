"""Writers of released rows (text and Parquet) and of refused rows, in files that appear at once or not at all."""
