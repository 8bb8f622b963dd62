"""What people read: offline pages and tables in the terminal."""
