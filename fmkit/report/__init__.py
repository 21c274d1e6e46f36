"""Result types -> rich tables, JSON, CSV, Markdown. No arithmetic."""
