"""What leaves this page: the model card, downloads, and uploads to the Hub."""
