"""``python -m potassium`` is the command ``potassium``."""

from potassium.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
