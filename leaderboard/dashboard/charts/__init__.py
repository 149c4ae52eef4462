"""Figures and pictures, a module per family; colours and layout are in ``style``."""
