"""Where released rows go: text and Parquet, refused rows, files that appear at once or not at all."""
