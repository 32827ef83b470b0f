"""Whether what clients saw of some registers could have happened one thing after the other.

Wing and Gong's search with Lowe's cache, one register at a time: linearizability holds for all if it holds for each.
"""
import collections
import math

MOST_PARTS = 3  # as Registers::most_parts
NOTHING = "nothing"

class Operation(collections.namedtuple("Operation", "what key former value begun ended result place")):
    """`what`: get, put, cas or append. `ended` is infinite if nobody knows whether it has taken effect; then it may
    have done so at any time after it was begun, or never. `place`: where it is tried first, if that is known."""
    __slots__ = ()

    @property
    def known(self):
        return self.ended != math.inf

def operation(what, key, begun, ended=math.inf, former="", value="", result=None, place=math.inf):
    return Operation(what, key, former, value, begun, ended, result, place)

def after(state, one):
    """What the register then holds, and what the operation returns."""
    if one.what == "get":
        return state, state
    if one.what == "cas" and state != one.former:
        return state, state
    if one.what == "append":
        new = "+".join([*state.split("+"), one.value][-MOST_PARTS:])
        return new, new
    return one.value, one.value

def told(operations):
    """Without what nobody was told of: an unknown operation whose value nobody has seen may as well not have been. That
    holds because what a register holds is what was last put there and the last parts appended to it, all of which it
    shows: nothing else depends on what is not seen."""
    known = [one for one in operations if one.known]
    doubtful = {one.value: one for one in operations if not one.known and one.what != "get"}
    seen = set()
    waiting = [part for one in known for text in (one.result, one.former) for part in text.split("+")]
    while waiting:
        part = waiting.pop()
        if part in doubtful and part not in seen:
            seen.add(part)
            waiting += doubtful[part].former.split("+")
    return known + [doubtful[value] for value in seen]

class Undecided(Exception):
    """The search took too long."""

def order(operations, most_steps=2_000_000):
    """In which order these operations of one register could have happened, or None."""
    operations = sorted(told(operations), key=lambda one: one.begun)
    size = len(operations)
    wanted = sum(one.known for one in operations)
    ranks = sorted(range(size), key=lambda i: (operations[i].place, operations[i].what == "get", operations[i].ended))
    rank = {i: at for at, i in enumerate(ranks)}
    # Calls and returns in one list, whose items can be lifted out of it and put back.
    times = sorted([(one.begun, 0, i) for i, one in enumerate(operations)] +
                   [(one.ended, 1, i) for i, one in enumerate(operations)])
    head, end = 0, len(times) + 1
    nexts, backs = list(range(1, end + 1)) + [end], [0] + list(range(end))
    place = [[0, 0] for _ in operations]
    for at, (_, kind, i) in enumerate(times, 1):
        place[i][kind] = at

    def lift(i):
        for at in place[i]:
            nexts[backs[at]], backs[nexts[at]] = nexts[at], backs[at]

    def put_back(i):
        for at in reversed(place[i]):
            nexts[backs[at]], backs[nexts[at]] = at, at

    def next_ones():
        """Who may come next: all that were begun before the first return."""
        found, at = [], nexts[head]
        while at != end and times[at - 1][1] == 0:
            found.append(times[at - 1][2])
            at = nexts[at]
        found.sort(key=rank.__getitem__, reverse=True)
        return found

    done, tried, steps = 0, set(), 0
    chosen, stack, state = [], [(NOTHING, next_ones())], NOTHING
    while wanted:
        if not stack[-1][1]:
            stack.pop()
            if not stack:
                return None
            last = chosen.pop()
            put_back(last)
            done &= ~(1 << last)
            wanted += operations[last].known
            continue
        state, waiting = stack[-1]
        i = waiting.pop()
        one = operations[i]
        new, result = after(state, one)
        if one.known and result != one.result:
            continue
        if not one.known and new == state:
            continue
        position = (done | 1 << i, new)
        if position in tried:
            continue
        steps += 1
        if steps > most_steps:
            raise Undecided(f"{size} operations of {one.key}: not decided after {steps} steps")
        tried.add(position)
        done |= 1 << i
        wanted -= one.known
        lift(i)
        chosen.append(i)
        stack.append((new, next_ones()))
    return [operations[i] for i in chosen]

def problems(operations):
    """One line for each register whose history could not have happened."""
    registers = collections.defaultdict(list)
    for one in operations:
        registers[one.key].append(one)
    found = []
    for key, some in sorted(registers.items()):
        try:
            if order(some) is None:
                found.append(f"the history of {key} is not linearizable{first_problem(some)}")
        except Undecided as error:
            found.append(f"the history of {key} may not be linearizable: {error}{first_problem(some)}")
    return found

def first_problem(operations):
    """Where the shortest beginning ends that could not have happened: what was begun by then, and may not have ended."""
    times = sorted(one.ended for one in operations if one.known)
    low, high = 0, len(times) - 1
    while low < high:
        middle = (low + high) // 2
        until = times[middle]
        beginning = [one if one.ended <= until else one._replace(ended=math.inf)
                     for one in operations if one.begun <= until]
        try:
            holds = order(beginning, 200_000) is not None
        except Undecided:
            holds = False
        low, high = (middle + 1, high) if holds else (low, middle)
    until = times[low]
    last = [one for one in operations if one.begun <= until and one.ended >= until - 500_000_000]
    lines = [f"{one.begun}..{one.ended} {one.what} {one.former} {one.value} -> {one.result} at {one.place}"
             for one in sorted(last, key=lambda one: one.begun)[-12:]]
    return ": it goes wrong at the end of\n  " + "\n  ".join(lines)
