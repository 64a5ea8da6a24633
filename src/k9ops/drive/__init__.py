"""Google Drive: credentials, folder, resumable upload, listing, deletion."""
