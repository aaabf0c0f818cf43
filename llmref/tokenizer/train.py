"""Training byte-level BPE: join the most frequent pair of neighbours into a new token, again and again.

Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", section 3.2.
"""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import add

Pair = tuple[bytes, bytes]


def learn_merges(words: Mapping[bytes, int], tokens: Sequence[bytes], vocab_size: int) -> list[Pair]:
    """Learns merges until the vocabulary is full or no pair is left.

    A word is kept as a string with one character per token, ``chr(id)``. A pair is then a string of two
    characters, a merge is one ``str.replace``, and pairs compare by their ids. A merge corrects the counts of
    its neighbours only, so that the text is never counted again.

    Args:
        words: How often each word occurs, as bytes.
        tokens: The vocabulary to start from, by id; it holds the 256 single bytes.
        vocab_size: How many tokens to end with, those included.

    Returns:
        The merges in order, each as the bytes of its two parts. Of pairs equally frequent the one with the
        lower ids goes first, as in the ``tokenizers`` library.

    >>> learn_merges({b"hug": 10, b"pug": 5, b"hugs": 5}, [bytes([byte]) for byte in range(256)], 258)
    [(b'u', b'g'), (b'h', b'ug')]
    """
    tokens = list(tokens)
    ids = {token: index for index, token in enumerate(tokens)}
    alphabet = "".join(chr(ids[bytes([byte])]) for byte in range(256))
    symbols = [word.decode("latin-1").translate(alphabet) for word in words]
    counts = list(words.values())

    pair_counts: defaultdict[str, int] = defaultdict(int)
    places: defaultdict[str, set[int]] = defaultdict(set)  # the words a pair was seen in
    for place, word in enumerate(symbols):
        for pair in map(add, word, word[1:]):
            pair_counts[pair] += counts[place]
            places[pair].add(place)
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)

    merges: list[Pair] = []
    while heap and len(tokens) < vocab_size:
        expected, pair = heapq.heappop(heap)
        if -expected != pair_counts[pair]:  # earlier merges took some: back into the heap with what is left
            if pair_counts[pair] > 0:
                heapq.heappush(heap, (-pair_counts[pair], pair))
            continue
        first, second = pair[0], pair[1]
        merged = chr(len(tokens))
        merges.append((tokens[ord(first)], tokens[ord(second)]))
        tokens.append(b"".join(merges[-1]))

        changes: defaultdict[str, int] = defaultdict(int)
        for place in places.pop(pair):
            symbols[place] = word = symbols[place].replace(pair, merged)
            at = word.find(merged)
            while at >= 0:
                if at > 0:
                    before = word[at - 1]
                    changes[(second if before == merged else before) + first] -= counts[place]
                    changes[before + merged] += counts[place]
                    places[before + merged].add(place)
                after = word[at + 1 : at + 2]
                if after and after != merged:  # if it is, the next round sees this pair from its right
                    changes[second + after] -= counts[place]
                    changes[merged + after] += counts[place]
                    places[merged + after].add(place)
                at = word.find(merged, at + 1)
        for changed, change in changes.items():
            pair_counts[changed] += change
            if merged in changed:
                heapq.heappush(heap, (-change, changed))
        pair_counts[pair] = 0
    return merges
