"""Draws the scores that CarRacing shows, with pygame's font as Gymnasium does, and writes them as a table.

python benchmarks/car_score_table.py neuralmutator/envs/car/assets/scores.npz
"""

import os
import sys

import numpy as np

os.environ["SDL_VIDEODRIVER"] = "dummy"

LOWEST, HIGHEST = -200, 999
ROWS, COLUMNS = slice(87, 92), slice(11)
"""Pixels of the picture that a score can touch."""


def score_table() -> np.ndarray:
    """Brightness u8[scores, rows, columns] of every score, from the lowest."""
    import pygame

    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), 42)
    table = []
    for score in range(LOWEST, HIGHEST + 1):
        window = pygame.Surface((1000, 800))
        text = font.render(f"{score:04}", True, (255, 255, 255), (0, 0, 0))
        window.blit(text, text.get_rect(center=(60, 750)))
        small = pygame.surfarray.array3d(pygame.transform.smoothscale(window, (96, 96)))[:, :, 0].T
        table.append(small[ROWS, COLUMNS])
        assert np.count_nonzero(small) == np.count_nonzero(table[-1]), f"{score} does not fit"
    return np.array(table, np.uint8)


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], table=score_table(), lowest=LOWEST)
