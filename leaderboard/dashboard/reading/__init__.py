"""The pages of *How to read this*: a text and a figure for every term."""
