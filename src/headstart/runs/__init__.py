"""One run: a request becomes four networks, their comparison, and a folder that can be read back."""
