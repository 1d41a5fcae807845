"""Picking images with boxes: features of regions, class-wise prototypes, CSOD, and its result on disk."""
