"""The raw videos of a data set, fetched from the URLs in its metadata."""
