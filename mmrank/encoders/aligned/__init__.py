"""Towers for photos and texts whose vectors lie in one space: CLIP and SigLIP from their files."""
