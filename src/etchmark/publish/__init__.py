"""What others may download: repositories of files, written to a folder or the Hugging Face Hub."""
