"""`--mode=play`: a page on which a person drives a trained world model."""
