"""Where artifacts come from: one module for each kind of URI. `fetch` is the only caller."""
