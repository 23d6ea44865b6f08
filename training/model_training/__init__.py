"""CV Factory training: from a folder of images to a registered, verified artifact."""
