"""Builds the documentation as a site: pages, links, and what is generated."""
