"""What steps know of API objects: sources of manifests, references, owners, matching, undoing."""
