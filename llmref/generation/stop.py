"""Stop texts: a text ends before the first of them, also where it lies across several pieces."""


class StopTexts:
    """Passes pieces on until a stop text, keeping back what may yet turn out to be the start of one.

    >>> stops = StopTexts(("the end",))
    >>> [stops.push(piece) for piece in ("a ca", "t th", "e dog, th", "e en", "d, more")], stops.found
    (['a ca', 't ', 'the dog, ', '', ''], True)
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        """Looks for these texts.

        Raises:
            ValueError: If one is empty.
        """
        if "" in stops:
            raise ValueError("a stop text must not be empty")
        self.stops = stops
        self.found = False
        self._held = ""

    def push(self, piece: str) -> str:
        """Takes a piece; returns what is surely before every stop text."""
        held = self._held + piece
        # The one that ends first: whatever the pieces, it is whole before any other.
        found = [(held.index(stop) + len(stop), held.index(stop)) for stop in self.stops if stop in held]
        if found:
            self.found, self._held = True, ""
            return held[: min(found)[1]]
        starts = (n for stop in self.stops for n in range(1, len(stop)) if held.endswith(stop[:n]))
        ready = len(held) - max(starts, default=0)
        self._held = held[ready:]
        return held[:ready]

    def flush(self) -> str:
        """Ends the text; returns what was kept back."""
        held, self._held = self._held, ""
        return held
