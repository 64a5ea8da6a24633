"""Google Drive: credentials, the folder, resumable upload, listing, download, deletion."""
