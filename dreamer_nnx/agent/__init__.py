"""The agent: world model and behaviour over components it is handed."""
