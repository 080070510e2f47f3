"""What runs on a Java virtual machine: finding one, and fetching jars by Maven into a cache."""
