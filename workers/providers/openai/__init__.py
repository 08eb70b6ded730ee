"""OpenAI's wire, and that of all compatible servers."""
