"""What a release achieved: privacy measured by attack, utility measured by use."""
