"""One short run of every component, and the table that is made of them."""
