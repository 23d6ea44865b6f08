"""Grafana's dashboards, written from short descriptions; `dev.generate` calls `files`."""
